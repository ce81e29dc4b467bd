# usage: Rscript glmnet.R data n p lambda alpha thresh out
# data: X by columns, then y (0 .. K-1), all little-endian float64.
suppressMessages(library(glmnet))

arguments <- commandArgs(trailingOnly = TRUE)
n <- as.integer(arguments[2])
p <- as.integer(arguments[3])
values <- readBin(arguments[1], "double", n * p + n, endian = "little")
X <- matrix(values[seq_len(n * p)], n, p)
y <- factor(values[n * p + seq_len(n)])
lambda <- as.numeric(arguments[4])

# Its authors advise against a fit at one lambda: a path of warm starts is faster.
path <- lambda * 10^seq(2, 0, length.out = 20)
family <- if (nlevels(y) == 2) "binomial" else "multinomial"
seconds <- system.time(
  fit <- glmnet(X, y, family = family, alpha = as.numeric(arguments[5]), lambda = path,
                standardize = FALSE, thresh = as.numeric(arguments[6]), maxit = 1e7)
)[["elapsed"]]

by_class <- coef(fit, s = lambda)
if (!is.list(by_class)) by_class <- list(by_class)
coef <- unlist(lapply(by_class, function(column) as.vector(as.matrix(column))))
cat(sprintf('{"seconds": %.6f, "coef": [%s]}', seconds,
            paste(sprintf("%.17g", coef), collapse = ", ")),
    file = arguments[7])
