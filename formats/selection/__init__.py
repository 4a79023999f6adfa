"""Selections from a pool of scored candidates: cheap, repeatable, and the pool stays as it is.

    pool         candidates of a batch as flat arrays
    ranking      which candidates count, and in which order: the rules that `select_best` and `select_pairs` share
    pairing      which two make a pair
    rows         from chosen candidates to rows, without a Python object per row
    best         the step `select_best`        SFT rows
    pairs        the step `select_pairs`       preference pairs
    pass_rate    the step `pass_rate`          prompts by the share of their answers that pass
    control      the node `control`            a random selection of the same size, or none: what a gain is compared with
    gather       the node `gather`             rows of several datasets, those of earlier rounds among them
    statistics   pass@k, best-of-n, intervals  what the report and the tests of a gain need
    report       `curate pool`                 distributions, pass@k, best-of-n, length, agreement
    ledger       the node `round_ledger`       what a round did, and whether to stop

Every rule is total: each candidate of each row ends with exactly one outcome (CHOSEN, or why not), the counts add up, and a row's result
depends on the row, the settings and the seed alone, unless a setting compares rows (`top_share`, `budget`, `combine: zscores`, `debias_length`).
"""
