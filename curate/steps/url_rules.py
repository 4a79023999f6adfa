"""Drop documents by their URL: domains, addresses and words that the user lists."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate.errors import MissingDependency
from curate.schema import with_columns
from curate.step import Asset, BatchFn, Context, Outcome, Signal, Step, Verdict
from curate.steps.document_fields import column_of, field_text
from curate.steps.listed_strings import ListedStrings
from curate.steps.word_files import all_entries, listed_files

_REASONS = ("url.missing", "url.domain", "url.host", "url.address", "url.word", "url.soft_words", "url.substring")
_MISSING, _DOMAIN, _HOST, _ADDRESS, _WORD, _SOFT, _SUBSTRING = range(len(_REASONS))
_OTHER = "[^a-zA-Z0-9]+"
_HELD_HOSTS = 200_000  # hosts whose registered domain is remembered

Bools = npt.NDArray[np.bool_]


def _names(what: str) -> tuple[str, ...]:
    given: tuple[str, ...] = Field((), description=what)
    return given


def _files(what: str) -> tuple[str, ...]:
    given: tuple[str, ...] = Field((), description=f"files of {what}, one a line", json_schema_extra={"path": True})
    return given


class Url(Step):
    """Drop documents whose URL is on a list, or has listed words in it.

    Reads the column named by `column`; adds columns only in `mode: annotate`. Depends on nothing but the document and the
    lists. No list comes with it: `domain_files` and `address_files` take any, `ut1` takes a folder of the UT1 blacklists.

    The rules, in the order in which they are tested: `domain` (registered domain by the Public Suffix List), `host` (the
    whole host name), `address` (the URL as it stands), `word` (between characters other than A-Z a-z 0-9), `soft_words` (more
    different ones than allowed), `substring` (in what is left of the URL without other characters).

    Equal to datatrove's URLFilter given the same lists, with these differences: a host that has no public suffix (an IP
    address) can be listed too; blank lines of a list are ignored; a document without URL is kept, where datatrove stops;
    the Public Suffix List is the one in the installed tldextract, never one from the network. By default capitals count,
    as there: "Casino" is another word than "casino". Text of links in other alphabets is not decoded: %D0%B0 is D0, B0.
    """

    name: ClassVar[str] = "url"
    summary: ClassVar[str] = "drop documents by domain, address or words of their URL"
    origin: ClassVar[str] = "Penedo et al. 2023 (arXiv:2306.01116), section 3.1 and appendix G.1; datatrove 0.10 URLFilter"

    mode: Literal["drop", "annotate"] = Field("drop", description="annotate: add columns, drop nothing")
    column: str = Field("meta.url", min_length=1, max_length=200, description="where the URL is: a column, or meta.KEY")
    domains: tuple[str, ...] = _names("domains or hosts to drop")
    domain_files: tuple[str, ...] = _files("domains or hosts to drop")
    addresses: tuple[str, ...] = _names("whole URLs to drop")
    address_files: tuple[str, ...] = _files("whole URLs to drop")
    ut1: tuple[str, ...] = Field(
        (),
        description="folders of the UT1 blacklists, one category or several: their files `domains` and `urls`",
        json_schema_extra={"path": True},
    )
    words: tuple[str, ...] = _names("words that drop the document")
    word_files: tuple[str, ...] = _files("words that drop the document")
    soft_words: tuple[str, ...] = _names("words that drop it where there are several")
    soft_word_files: tuple[str, ...] = _files("words that drop it where there are several")
    max_soft_words: int | None = Field(1, ge=0, le=10_000, description="most different soft words a document may have; null: no bound")
    substrings: tuple[str, ...] = _names("strings that drop the document wherever they stand")
    substring_files: tuple[str, ...] = _files("strings that drop the document wherever they stand")
    match_case: bool = Field(True, description="capitals count, as in datatrove; false: 'Casino' is 'casino'")
    match_parents: bool = Field(False, description="a listed domain stands for every host below it, as in squidGuard")
    keep_missing: bool = Field(True, description="keep documents that have no URL")

    @field_validator("ut1")
    @classmethod
    def _files_of_folders(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """Replace folders by the files in them, so that a key depends on what is read and not on where it lies."""
        found: list[str] = []
        for path in given:
            if Path(path).is_dir():
                files = listed_files(path, ("domains", "urls"))
                if not files:
                    raise ValueError(f"{path} has no file 'domains' or 'urls', nor has a folder right in it")
                found += files
            else:
                found.append(path)
        return tuple(found)

    def reads(self) -> frozenset[str]:
        """The column with the URL."""
        return frozenset({column_of(self.column)})

    def adds(self) -> Mapping[str, pa.DataType]:
        """In annotate mode: decision, reason, host, registered domain and the number of soft words."""
        if self.mode == "drop":
            return {}
        return {"url_keep": pa.bool_(), "url_reason": pa.string(), "url_host": pa.large_string(), "url_domain": pa.large_string(),
                "url_soft_words": pa.int64()}  # fmt: skip

    def drops(self) -> tuple[str, ...]:
        """Reasons of the rules that have a list."""
        if self.mode == "annotate":
            return ()
        hosts, addresses = bool(self._paths("domains")), bool(self._paths("urls"))
        on = (not self.keep_missing, hosts, hosts, addresses, bool(self.words or self.word_files),
              bool(self.soft_words or self.soft_word_files) and self.max_soft_words is not None, bool(self.substrings or self.substring_files))  # fmt: skip
        return tuple(reason for reason, wanted in zip(_REASONS, on, strict=True) if wanted)

    def signals(self) -> tuple[Signal, ...]:
        """Soft words are the one number."""
        return (Signal("url_soft_words", "max_soft_words", "at_most"),)

    def assets(self) -> tuple[Asset, ...]:
        """Every list; the Public Suffix List where domains are asked for."""
        lists = [*self.domain_files, *self.address_files, *self.ut1, *self.word_files, *self.soft_word_files, *self.substring_files]
        suffixes = [Asset(str(public_suffix_path()), "Public Suffix List")] if self._paths("domains") or self.mode == "annotate" else []
        return (*(Asset(path, "list") for path in lists), *suffixes)

    def _paths(self, kind: str) -> list[str]:
        """What says something about domains, or about urls: files and entries."""
        given = (*self.domains, *self.domain_files) if kind == "domains" else (*self.addresses, *self.address_files)
        return [*given, *(path for path in self.ut1 if Path(path).name == kind)]

    def bind(self, ctx: Context) -> BatchFn:
        """Read the lists, and the Public Suffix List where domains are asked for."""
        domain_files = [*self.domain_files, *(p for p in self.ut1 if Path(p).name == "domains")]
        address_files = [*self.address_files, *(p for p in self.ut1 if Path(p).name == "urls")]
        listed = ListedStrings([self._cased(e) for e in all_entries(self.domains, domain_files)])
        addresses = ListedStrings([self._cased(e) for e in all_entries(self.addresses, address_files)])
        words = _Words(self)
        hosts = _Hosts() if len(listed) or self.mode == "annotate" else None

        def run(batch: pa.RecordBatch) -> Outcome:
            url = field_text(batch, self.column)
            there = pc.fill_null(pc.not_equal(url, ""), False).to_numpy(zero_copy_only=False)
            cased = url if self.match_case else pc.ascii_lower(url)
            hits: dict[int, Bools] = {_MISSING: np.zeros(len(batch), bool) if self.keep_missing else ~there}
            host = domain = pa.nulls(len(batch), pa.large_string())
            if hosts is not None:
                host, domain = hosts(cased)
                hits[_DOMAIN], hits[_HOST] = listed.holds(domain), listed.holds(host)
                if self.match_parents:
                    hits[_HOST] |= _any_parent(host, listed)
            hits[_ADDRESS] = addresses.holds(cased)
            hits[_WORD], soft, hits[_SUBSTRING] = words(cased)
            hits[_SOFT] = there & (soft > (np.inf if self.max_soft_words is None else self.max_soft_words))
            verdict = _verdict({rule: hit & (there | (rule == _MISSING)) for rule, hit in hits.items()}, soft, len(batch))
            if self.mode == "drop":
                return Outcome(batch, verdict)
            columns = {"url_keep": verdict.keep, "url_reason": verdict.reason, "url_host": host, "url_domain": domain,
                       "url_soft_words": pa.array(soft)}  # fmt: skip
            return Outcome(with_columns(batch, columns))

        return run

    def _cased(self, entry: str) -> str:
        return entry if self.match_case else entry.lower()


class _Words:
    """The three rules about words: two automata over the URLs of a batch."""

    def __init__(self, step: Url) -> None:
        from curate.kernels import patterns

        hard = _normal(all_entries(step.words, step.word_files))
        soft = _normal(all_entries(step.soft_words, step.soft_word_files))
        # A word may be on both lists: it is then two patterns, of which the second gets a machine of its own.
        self._machines = [patterns.build(found) for found in (hard, soft)]
        self._substrings = patterns.build(_normal(all_entries(step.substrings, step.substring_files)))
        self._scan, self._border = patterns.scan, patterns.ALNUM_BORDERS

    def __call__(self, url: pa.LargeStringArray) -> tuple[Bools, npt.NDArray[np.int64], Bools]:
        """(has a word, number of different soft words, has a substring), each of n."""
        hard, soft = (self._scan(url, m, [0] * len(m.size), [self._border] * len(m.size), 1).distinct[:, 0] for m in self._machines)
        substring = np.zeros(len(url), bool)
        if len(self._substrings.size):
            plain = pc.ascii_lower(pc.replace_substring_regex(url, _OTHER, ""))
            none = [0] * len(self._substrings.size)
            substring = self._scan(plain, self._substrings, none, none, 1, first_only=True).distinct[:, 0] > 0
        return hard > 0, soft, substring


def _normal(found: list[str]) -> list[bytes]:
    """Words as they are compared: letters and digits of ASCII, lower case; none that are empty then."""
    import re

    return [w.encode() for w in dict.fromkeys(re.sub(_OTHER, "", word).lower() for word in found) if w]


class _Hosts:
    """Host and registered domain of URLs, as tldextract takes them apart; remembers the hosts it has seen."""

    def __init__(self) -> None:
        import tldextract
        from tldextract.remote import lenient_netloc

        public_suffix_path()
        self._netloc: Callable[[str], str] = lenient_netloc
        self._extract = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True)
        self._held: dict[str, str] = {}

    def __call__(self, url: pa.LargeStringArray) -> tuple[pa.LargeStringArray, pa.LargeStringArray]:
        """(host, registered domain) of each; null without URL, '' where there is none."""
        hosts = [None if u is None else self._netloc(u) for u in url.to_pylist()]
        domains = [None if h is None else self._domain(h) for h in hosts]
        return pa.array(hosts, pa.large_string()), pa.array(domains, pa.large_string())

    def _domain(self, host: str) -> str:
        known = self._held.get(host)
        if known is None:
            if len(self._held) >= _HELD_HOSTS:
                self._held.clear()
            known = self._held[host] = str(self._extract(host).top_domain_under_public_suffix)
        return known


def _any_parent(host: pa.LargeStringArray, listed: ListedStrings) -> Bools:
    """Whether a domain above the host, or the host itself, is listed."""
    owner: list[int] = []
    above: list[str] = []
    for row, parents in enumerate(_parents(h) for h in host.to_pylist()):
        for parent in parents:
            owner.append(row)
            above.append(parent)
    hit = np.zeros(len(host), bool)
    hit[np.array(owner, np.int64)[listed.holds(pa.array(above, pa.large_string()))]] = True
    return hit


def _parents(host: str | None) -> Iterator[str]:
    rest = host or ""
    while rest:
        yield rest
        rest = rest.partition(".")[2]


def _verdict(hits: dict[int, Bools], soft: npt.NDArray[np.int64], n: int) -> Verdict:
    """The first rule in their order decides; the value of soft words is their number."""
    which = np.full(n, -1)
    for rule in range(len(_REASONS)):
        which[(which < 0) & hits.get(rule, np.zeros(n, bool))] = rule
    kept = which < 0
    reason = pa.array(_REASONS).take(pa.array(np.maximum(which, 0), mask=kept))
    return Verdict(pa.array(kept), reason, pa.array(soft.astype(np.float64), mask=which != _SOFT))


def public_suffix_path() -> Path:
    """The Public Suffix List that the installed tldextract carries; found without importing it."""
    spec: Any = importlib.util.find_spec("tldextract")
    path = Path(spec.origin).parent / ".tld_set_snapshot" if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise MissingDependency("url needs the Public Suffix List of the package 'tldextract'. Run: pip install tldextract")
    return path
