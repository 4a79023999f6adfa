"""Steps that build prompts: from seeds, from prompts, from personas and topics, from documents, from nothing.

They ask a model as `generate` does and take its settings, caps and journal from `formats.generation.model_step`.
"""
