"""Time to solution: this package against its peers, problem by problem.

``python -m benchmarks`` runs everything, prints the table and writes
``benchmarks/results/``. ``python -m benchmarks.kernel``, ``.growth`` and ``.passes``
look at one evaluation, at growth with the number of rows and at passes over the data.
"""
