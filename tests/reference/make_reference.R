# The fits of make_reference.py once more, in R: glm for two classes, nnet::multinom for
# more, sandwich for robust errors, brglm2 for Jeffreys' prior.
#
#   Rscript make_reference.R FOLDER
#
# FOLDER holds tasks.json and a CSV file per data set, without a header: class code from
# 0, weight, cluster, then the columns. r.json is written there. Columns are scaled
# here and the results carried back, since multinom's BFGS and its standard errors
# do not survive raw units.

suppressMessages({
  library(jsonlite)
  library(nnet)
  library(sandwich)
  library(brglm2)
})

folder <- commandArgs(trailingOnly = TRUE)[1]
tasks <- fromJSON(file.path(folder, "tasks.json"))

# Matrix that carries (slopes, intercept) from scaled columns to original ones.
back_transform <- function(centre, spread) {
  p <- length(centre)
  J <- diag(c(1 / spread, 1), p + 1)
  J[p + 1, seq_len(p)] <- -centre / spread
  J
}

# R's order (intercept first) to ours (last), class-major, in original units.
carry_back <- function(beta, V, J, K) {
  q <- nrow(J)
  last <- c(2:q, 1)
  B <- matrix(beta, nrow = K - 1, byrow = TRUE)[, last, drop = FALSE] %*% t(J)
  pick <- as.vector(outer(last, (seq_len(K - 1) - 1) * q, "+"))
  big <- kronecker(diag(K - 1), J)
  W <- big %*% V[pick, pick] %*% t(big)
  list(coef = B, se = matrix(sqrt(diag(W)), nrow = K - 1, byrow = TRUE))
}

# Log-probabilities from logits, those of the observed classes, and their sum.
shifted <- function(eta) {
  eta <- eta - apply(eta, 1, max)
  eta - log(rowSums(exp(eta)))
}
row_log_proba <- function(eta, y) shifted(eta)[cbind(seq_along(y), y + 1)]
log_likelihood <- function(eta, y, w) sum(w * row_log_proba(eta, y))

fit_one <- function(task) {
  table <- as.matrix(read.csv(file.path(folder, paste0(task$name, ".csv")), header = FALSE))
  dimnames(table) <- NULL
  table <- table[table[, 2] > 0, , drop = FALSE]
  y <- table[, 1]; w <- table[, 2]; g <- table[, 3]
  X <- table[, -(1:3), drop = FALSE]
  K <- task$classes
  centre <- colMeans(X)
  spread <- apply(X, 2, sd)
  spread[spread == 0] <- 1
  Z <- scale(X, centre, spread)
  J <- back_transform(centre, spread)
  regular <- task$kind == "regular"
  out <- list()
  if (K == 2) {
    # glm takes epsilon / 1000 for the tolerance of its rank: small ones hide a dummy
    # trap. From its own start, weights in the thousands make it diverge.
    control <- glm.control(epsilon = if (task$kind == "collinear") 1e-10 else 1e-15,
                           maxit = 100)
    start <- c(qlogis(weighted.mean(y, w)), numeric(ncol(Z)))
    fit <- suppressWarnings(
      glm(y ~ Z, binomial, weights = w, control = control, start = start))
    out$engine <- paste("glm, R", getRversion())
    out$log_likelihood <- log_likelihood(cbind(0, fit$linear.predictors), y, w)
    if (regular) {
      out <- c(out, carry_back(coef(fit), vcov(fit), J, 2))
      if (task$integer) {
        long <- rep(seq_along(y), w)
        rows <- data.frame(y = y[long], Z = I(Z[long, , drop = FALSE]))
        # Where weights are counts, the frequency table written out row by row.
        full <- glm(y ~ Z, binomial, data = rows, control = control)
        out$se_robust <- carry_back(coef(full), sandwich(full), J, 2)$se
        if (task$groups) {
          V <- vcovCL(full, g[long], type = "HC0", cadjust = FALSE)
          out$se_cluster <- carry_back(coef(full), V, J, 2)$se
        }
      }
    }
  } else {
    fit <- multinom(y ~ Z, weights = w, maxit = 20000, MaxNWts = 1e5, trace = FALSE,
                    reltol = 1e-15, abstol = 0, Hess = regular)
    out$engine <- paste("nnet::multinom", packageVersion("nnet"))
    B <- coef(fit)
    logits <- function(B) cbind(0, cbind(1, Z) %*% t(matrix(B, nrow = K - 1)))
    out$log_likelihood <- log_likelihood(logits(B), y, w)
    if (regular && min(row_log_proba(logits(B), y)) < -700) {
      # nnet charges 1000 nats for a probability that underflows, whatever its logit, and
      # so maximises something else where an outlier is this improbable: go on from there
      # with the exact likelihood.
      out$engine <- paste("optim, R", getRversion(), "from", out$engine)
      out$log_likelihood_multinom <- out$log_likelihood
      gradient <- function(B) {
        R <- exp(shifted(logits(B)))
        R[cbind(seq_along(y), y + 1)] <- R[cbind(seq_along(y), y + 1)] - 1
        as.vector(t(R[, -1] * w) %*% cbind(1, Z))
      }
      found <- optim(as.vector(B), function(B) -log_likelihood(logits(B), y, w), gradient,
                     method = "BFGS", control = list(maxit = 5000, reltol = 1e-16))
      out$log_likelihood <- -found$value
      beta <- as.vector(t(matrix(found$par, nrow = K - 1)))
      out$coef <- carry_back(beta, diag(length(beta)), J, K)$coef
    } else if (regular) {
      out <- c(out, carry_back(as.vector(t(coef(fit))), vcov(fit), J, K))
    }
  }
  if (task$jeffreys) {
    tight <- list(epsilon = 1e-12, maxit = 10000)
    if (K == 2) {
      fit <- glm(y ~ Z, binomial, weights = w, method = "brglmFit",
                 type = "AS_mean", control = tight)
      out$jeffreys <- carry_back(coef(fit), vcov(fit), J, 2)
    } else {
      fit <- brmultinom(factor(y) ~ Z, weights = w, type = "AS_mean", control = tight)
      # The covariance of brmultinom comes class-major, as the coefficients here.
      out$jeffreys <- carry_back(as.vector(t(coef(fit))), vcov(fit), J, K)
    }
  }
  out
}

results <- list()
for (i in seq_len(nrow(tasks))) {
  task <- as.list(tasks[i, ])
  started <- proc.time()[["elapsed"]]
  results[[task$name]] <- fit_one(task)
  cat(sprintf("R %-20s %.9f  (%.1f s)\n", task$name, results[[task$name]]$log_likelihood,
              proc.time()[["elapsed"]] - started))
}
results <- lapply(results, function(r) {
  for (key in intersect(names(r), c("engine", "log_likelihood", "log_likelihood_multinom")))
    r[[key]] <- unbox(r[[key]])
  r
})
write(toJSON(results, digits = NA, matrix = "rowmajor"), file.path(folder, "r.json"))
