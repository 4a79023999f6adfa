"""Conversations to the text and tokens of one model: its chat template, the loss mask with proof, and a probe of both.

jinja.py      a template, compiled in a sandbox      named.py     our own templates of known formats
tokenizer.py  a tokenizer with its template          turns.py     records as templates want them
masks.py      which text is trained, found twice     rendering.py rows of token ids and labels
probe.py      what is wrong with a pair of the two   view.py      rows coloured by loss
"""
