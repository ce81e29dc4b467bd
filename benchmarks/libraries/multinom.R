# usage: Rscript multinom.R data n p reltol out
# data: X by columns, then y (0 .. K-1), all little-endian float64.
suppressMessages(library(nnet))

resident_peak <- function() {  # KiB, NA where there is no /proc
  status <- tryCatch(readLines("/proc/self/status"), error = function(e) "",
                     warning = function(w) "")
  line <- grep("^VmHWM:", status, value = TRUE)
  if (length(line) == 1) as.numeric(gsub("[^0-9]", "", line)) else NA
}

arguments <- commandArgs(trailingOnly = TRUE)
n <- as.integer(arguments[2])
p <- as.integer(arguments[3])
values <- readBin(arguments[1], "double", n * p + n, endian = "little")
X <- matrix(values[seq_len(n * p)], n, p)
y <- factor(values[n * p + seq_len(n)])
rm(values)
invisible(gc())

before <- resident_peak()
seconds <- system.time(
  fit <- multinom(y ~ X, MaxNWts = 1e6, maxit = 1e5, abstol = 0,
                  reltol = as.numeric(arguments[4]), trace = FALSE)
)[["elapsed"]]
peak <- resident_peak() - before

coef <- as.vector(t(coef(fit)))
cat(sprintf('{"seconds": %.6f, "peak_kib": %s, "coef": [%s]}', seconds,
            if (is.na(peak)) "null" else format(peak, scientific = FALSE),
            paste(sprintf("%.17g", coef), collapse = ", ")),
    file = arguments[5])
