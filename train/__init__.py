"""Training that is fed by curate's shards: from a mix or a dataset to a model, exactly and traceably.

What other packages, and the parts of this one, build on (names are stable):

    train.shapes      PRESETS, shape(name, vocab_size) -> LlamaConfig settings; padded_vocabulary(size)
    train.spec        ModelSpec, Initial (settings: what a model starts from)
    train.models      init_model(initial, tokenizer, seed) / load_model(folder) / save_model(model, folder, tokenizer, notes)
    train.node        ModelNode (base of the node kinds `train: pretrain`, `sft`, ...), TrainJob (what a runner gets)
    train.launch      run_job(job, processes): in this process, in N processes of this machine, or as a rank of torchrun
    train.attention   PACKED, use_attention(model, name), packed_inputs(...), guard_packed(model)
    train.metrics     Metrics: metrics.jsonl, TensorBoard, W&B, a line of progress
    train.cost        parameters, FLOPs, memory, time and money of a run
    train.gpus        GPUs by name: peak rates, memory, bandwidth, with their data sheets
    train.command     `curate train FILE`

A node kind is a subclass of ModelNode whose `train(job, progress)` imports torch and does the work; the class itself is
light, so that `curate validate` needs no torch. Modules without torch: __init__, shapes, spec, node, pretrain, launch, progress, gpus, cost,
command, evaluation.settings.
"""
