"""Answers of language models for prompts: the step `generate`, and the steps that build prompts.

    prompts      records -> Prompt: what is sent, and its digest; seeds of samples              `prompts.py`
    journal      every answer the moment it comes, one line each; reruns ask for what is missing  `journal.py`
    spending     running tokens and money, caps, rates                                           `spending.py`
    backends     servers, transformers, vLLM, Python functions, batch APIs, recordings            `backend.py`
    asking       prompts in, answers in the journal                                               `asking.py`
    generate     the step: one record in, one record with its candidates out                      `generate.py`

Other steps that need a model's words (judges) use `asking.ask`.
"""
