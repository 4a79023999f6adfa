"""Instruction, chat and preference sets: one canonical record, every public format as a view of it, both ways.

    records.py    the record and its Arrow schema      batches.py  records <-> Arrow
    convert.py    files from one format to another     detect.py   which format a file has, with evidence
    adapters/     one module per family of formats     policies.py what to do with odd conversations

`formats` uses curate's public pieces; curate never imports it and finds it through entry points.
"""
