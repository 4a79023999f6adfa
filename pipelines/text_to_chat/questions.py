"""Questions about Python's standard library for text_to_chat.yaml: chats to begin with, prompts, and two sets to be judged by.

    python pipelines/text_to_chat/questions.py            # writes the four files beside it, always the same bytes

A fact is a name, the module that has it, and whether it is a function, a class or a constant. Each fact is asked in two ways (where, what), each way
in six wordings. Every third fact is never answered in the chats: a model can learn it only from answers of its own that the verifier found right.

    chats.jsonl    two wordings of two thirds of the facts, with answers
    prompts.jsonl  two other wordings of all facts, without
    told.jsonl     a fifth wording of the facts that the chats tell
    untold.jsonl   a fifth wording of the others

No question stands in two files.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

FACTS = {
    "math": {"function": "sqrt floor ceil factorial gcd hypot isqrt", "constant": "pi tau inf"},
    "json": {"function": "dumps loads", "class": "JSONEncoder JSONDecoder JSONDecodeError"},
    "re": {"function": "fullmatch findall finditer escape", "constant": "IGNORECASE MULTILINE DOTALL"},
    "itertools": {"class": "chain cycle islice groupby accumulate permutations combinations"},
    "collections": {"class": "Counter deque OrderedDict defaultdict ChainMap UserDict", "function": "namedtuple"},
    "random": {"function": "shuffle randint choice randrange gauss", "class": "SystemRandom"},
    "time": {"function": "sleep monotonic perf_counter strftime gmtime", "constant": "timezone"},
    "os": {"function": "getcwd listdir mkdir rmdir getpid cpu_count", "constant": "environ sep"},
    "shutil": {"function": "copyfile rmtree copytree disk_usage which make_archive"},
    "hashlib": {"function": "sha256 md5 sha1 pbkdf2_hmac", "class": "blake2b", "constant": "algorithms_available"},
    "statistics": {"function": "mean median stdev variance quantiles", "class": "NormalDist"},
    "threading": {"class": "Thread Event Semaphore Barrier Timer", "function": "active_count"},
    "pathlib": {"class": "Path PurePath PosixPath WindowsPath"},
    "string": {"constant": "ascii_letters digits punctuation hexdigits", "function": "capwords", "class": "Template Formatter"},
    "functools": {"function": "lru_cache wraps total_ordering cmp_to_key", "class": "partial cached_property"},
}
WHERE = (
    "Which module has {}?",
    "Where is {} in the standard library?",
    "I need {}. Which module do I import?",
    "Name the module of {}.",
    "{} belongs to which module?",
    "From which module does {} come?",
)
WHAT = (
    "Is {} a function, a class or a constant?",
    "What kind of thing is {}?",
    "Name the kind of {}.",
    "{}: function, class or constant?",
    "Tell me what {} is: a function, a class or a constant.",
    "What is {} in Python?",
)


def facts() -> list[tuple[str, str, str]]:
    """(name, module, kind) in the order of the table."""
    return [(name, module, kind) for module, kinds in FACTS.items() for kind, names in kinds.items() for name in names.split()]


def rows(seed: int) -> dict[str, list[dict[str, object]]]:
    """The rows of each file. A row has id, prompt, answer (one word); a chat has messages in place of a prompt."""
    make = random.Random(seed)
    made: dict[str, list[dict[str, object]]] = {"chats": [], "prompts": [], "told": [], "untold": []}
    for number, (name, module, kind) in enumerate(facts()):
        untold = number % 3 == 2
        for way, wordings, answer in (("where", WHERE, module), ("what", WHAT, kind)):
            drawn = make.sample(wordings, 5)
            reply = f"The module is {module}." if way == "where" else f"It is a {kind}."
            questions = [text.format(name) for text in drawn]
            for at, question in enumerate(questions[:2] if not untold else ()):
                turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
                made["chats"].append({"id": f"chat-{name}-{way}-{at}", "messages": turns})
            for at, question in enumerate(questions[2:4]):
                made["prompts"].append({"id": f"prompt-{name}-{way}-{at}", "prompt": question, "answer": answer})
            file = "untold" if untold else "told"
            made[file].append({"id": f"{file}-{name}-{way}", "question": questions[4], "answer": answer, "domain": way})
    for found in made.values():
        make.shuffle(found)
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seed", type=int, default=0, help="another one draws other wordings")
    options.add_argument("-o", "--out", type=Path, default=Path(__file__).parent)
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, found in rows(given.seed).items():
        (given.out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), "ascii")


if __name__ == "__main__":
    main()
