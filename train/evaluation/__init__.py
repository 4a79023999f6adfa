"""What a model can do: perplexity by domain, multiple choice, classification, generation; comparisons with intervals.

train.evaluation.items       rows of task files in one shape, whatever their fields are called
train.evaluation.tasks       a task: items, how they are asked, what is counted; files and YAML
train.evaluation.scorer      log-likelihoods of continuations and of whole documents, by a loaded model
train.evaluation.metrics     figures of a task from what the model said
train.evaluation.evaluate    tasks x model -> Result (figures, and a line for each item)
train.evaluation.bootstrap   paired intervals between two results
train.evaluation.harness     the same files through lm-eval
train.evaluation.asking      one model, loaded and asked
train.evaluation.command     `curate eval`
train.evaluation.node        the node `evaluate`: models of a recipe
"""
