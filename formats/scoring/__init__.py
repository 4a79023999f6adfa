"""Scores of candidates: verifiers, reward models, judges. Several stand side by side in `Candidate.scores`, by name.

    verifier.py      what a verifier is, and the table of their names
    answer_checks    math, choice, exact, f1, regex, json_schema      answers against a reference or a form
    numbers          numbers and expressions that mean the same
    unit_tests       code, by unit tests in `formats.sandbox`
    instructions     constraints that a program can check (IFEval)
    shape            length and format
    majority         agreement of a group's final answers
    reward_models    sequence classifiers
    judges           a language model's marks and comparisons
    step             the step `score`
    rewards          the same verifiers as rewards of online training: REWARDS[name](prompts, completions, rows, **settings)

A score is a number, or null where none could be given; null is never replaced by a number. Verifiers give 1 and 0, or a
share between them.
"""
