"""Which data is better? Models of one shape learn from variants of a corpus, same tokens, several seeds; held-out text judges.

train.ablation.settings   the file: variants, model, tokens, seeds, what is compared
train.ablation.arms       one variant and one seed: its mix, its model, bits of every held-out document
train.ablation.apart      several arms at a time, each in a process of its own
train.ablation.verdict    differences with intervals, how many seeds would be needed, a plain sentence
train.ablation.page       ablation.md, ablation.json, a picture
train.ablation.command    `curate ablate FILE`
"""
