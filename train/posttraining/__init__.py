"""Post-training through trl: our rows, our masks, our order, and nothing dropped without a count.

    sft.py dpo.py reward.py kto.py group.py (grpo, rloo)   node kinds: settings, and the trainer made of parts
    settings.py     what all kinds share            launching.py   FSDP2, DeepSpeed, tensor parallel: settings to configurations
    rendering.py    records to rows of ids          findings.py, checks.py, doctor.py   the data doctor
    runner.py       around a trainer, before torch  training.py    arguments, callbacks, the folder that is written
    trainers.py     trl's trainers, ours            collators.py, flat.py   batches; rows without padding
    adapters.py     LoRA, QLoRA, soft prompts       rewards.py, reward_models.py   rewards of grpo and rloo
    order.py        which row stands where          average.py     the mean of several checkpoints

Modules that import torch or trl at their top: adapters, collators, flat, reward_models, trainers, training. The others are what
`curate validate`, `curate plan` and `curate doctor` need.
"""
