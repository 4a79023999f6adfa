"""Secrets: access keys and tokens that begin with a known prefix, private-key blocks, signed JSON web tokens.

A key is told from a placeholder (`sk-xxxxxxxx`, `AKIAXXXXXXXXXXXXXXXX`) by the entropy of what follows its prefix.
Prefixes and lengths are those that the services document, and that secret scanners (gitleaks, trufflehog, GitHub) share.

Not found: keys without a known prefix or a known name before them, passwords in prose, keys broken over lines.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from curate.steps.pii_patterns import Document, Match, Span

_A, _H, _W, _B64 = rb"[A-Za-z0-9]", rb"[a-f0-9]", rb"[A-Za-z0-9_-]", rb"[A-Za-z0-9+/]"
MIN_KEY_ENTROPY = 2.5  # bits a character: 'xxxxxxxx' has 0, 16 random letters and digits about 3.7

# (literal beginning, place of a byte that is rare behind the one before it, what follows). The scan looks for the literal where it stands: one of `TRIGGERS`.
_TOKENS: tuple[tuple[bytes, int, bytes], ...] = (
    (b"AKIA", 1, rb"[A-Z0-9]{16}"),  # AWS: access keys, temporary ones, bearer tokens
    (b"ASIA", 3, rb"[A-Z0-9]{16}"),
    (b"LTAI", 1, _A + rb"{12,24}+"),  # Alibaba Cloud
    (b"AKID", 1, _A + rb"{32}"),  # Tencent Cloud
    (b"AIza", 2, _W + rb"{35}"),  # Google
    (b"GOCSPX-", 6, _W + rb"{28}"),
    (b"ya29.", 4, _W + rb"{40,1000}+"),
    *((b"gh%c_" % c, 3, _A + rb"{36,251}+") for c in b"pousr"),  # GitHub
    (b"github_pat_", 10, _A + rb"{22}_" + _A + rb"{59}"),
    *((p, len(p) - 1, _W + rb"{20,64}+") for p in (b"glpat-", b"gldt-", b"glrt-", b"glcbt-", b"glptt-", b"glsoat-")),  # GitLab
    (b"sk-", 2, _W + rb"{20,250}+"),  # OpenAI, Anthropic, DeepSeek and others
    (b"gsk_", 3, _A + rb"{40,60}+"),  # Groq
    (b"xai-", 3, _A + rb"{60,100}+"),
    (b"pplx-", 4, _A + rb"{40,64}+"),
    *((p, len(p) - 1, _A + rb"{16,250}+") for p in (b"sk_live_", b"sk_test_", b"rk_live_", b"rk_test_")),  # Stripe
    (b"whsec_", 5, _B64 + rb"{32,64}+"),
    *((b"xox%c-" % c, 1, rb"[A-Za-z0-9-]{10,250}+") for c in b"abeoprs"),  # Slack
    (b"xapp-", 4, rb"[A-Za-z0-9-]{10,250}+"),
    (b"hf_", 2, _A + rb"{30,64}+"),  # Hugging Face
    (b"npm_", 3, _A + rb"{36}"),
    (b"pypi-", 4, rb"AgE" + _W + rb"{50,250}+"),
    (b"rubygems_", 8, _H + rb"{48}"),
    (b"SG.", 1, _W + rb"{22}\." + _W + rb"{43}"),  # SendGrid
    *((p, len(p) - 1, _H + rb"{64}") for p in (b"dop_v1_", b"doo_v1_", b"dor_v1_")),  # DigitalOcean
    *((p, len(p) - 1, rb"[A-Fa-f0-9]{32}") for p in (b"shpat_", b"shpca_", b"shppa_", b"shpss_")),  # Shopify
    (b"sq0atp-", 6, _W + rb"{22}"),  # Square
    (b"sq0csp-", 6, _W + rb"{43}"),
    (b"lin_api_", 7, _A + rb"{40}"),  # Linear
    (b"ntn_", 3, _A + rb"{40,50}+"),  # Notion
    (b"glsa_", 4, _A + rb"{32}_[A-Fa-f0-9]{8}"),  # Grafana
    (b"PMAK-", 3, _H + rb"{24}-" + _H + rb"{34}"),  # Postman
    (b"NRAK-", 3, rb"[A-Z0-9]{27}"),  # New Relic
    (b"pul-", 3, _H + rb"{40}"),  # Pulumi
    (b"hvs.", 1, _W + rb"{24,250}+"),  # Vault
    (b"dckr_pat_", 8, _W + rb"{24,40}+"),
    (b"figd_", 4, _W + rb"{38,50}+"),
    (b"sbp_", 3, _H + rb"{40}"),  # Supabase
    (b"sntrys_", 6, _W + rb"{40,250}+"),  # Sentry
    (b"r8_", 2, _A + rb"{37}"),  # Replicate
    (b"ATATT3xFfG", 9, rb"[A-Za-z0-9_=-]{100,250}+"),  # Atlassian
    (b"AGE-SECRET-KEY-1", 14, rb"[A-Z0-9]{58}"),
    (b"eyJ", 2, _W + rb"{8,2000}+\.eyJ" + _W + rb"{8,8000}+\." + _W + rb"{16,2000}+"),  # JSON web token, signed
)
_BLOCK_HEAD = b"-----BEGIN"
_BLOCK = (
    rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){1,16384}+"
    rb"-----END (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
)
# Names that say what follows: `aws_secret_access_key = ...`. Only the value is the find.
_NAMES = (
    (b"aws_secret_access_key", 10), (b"AWS_SECRET_ACCESS_KEY", 10), (b"secret_access_key", 6), (b"SECRET_ACCESS_KEY", 6),
    (b"SecretAccessKey", 12), (b"secretAccessKey", 12),
)  # fmt: skip
_NAMED = (
    rb"(?:" + b"|".join(name for name, _ in _NAMES) + rb")[\"']?\s{0,3}(?:=|:)\s{0,3}[\"']?(?P<named>" + _B64 + rb"{40})(?![A-Za-z0-9+/=])"
    rb"|AccountKey=(?P<azure>" + _B64 + rb"{86}==)"
)  # fmt: skip
KEY_PATTERN = re.compile(
    rb"(?<![A-Za-z0-9_-])(?:" + b"|".join(re.escape(head) + tail for head, _, tail in _TOKENS) + rb")(?![A-Za-z0-9_])"
    rb"|(?<![A-Za-z0-9_])(?:" + _BLOCK + rb"|" + _NAMED + rb")"
)  # fmt: skip
KEY_PREFIXES = ((_BLOCK_HEAD, 8), *((head, at) for head, at, _ in _TOKENS), *_NAMES, (b"AccountKey=", 7))
_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=]{32}")
_LONG_RUN = re.compile(rb"[A-Za-z0-9]{16}")
_HEAD = re.compile(rb"[A-Za-z]+[-_.]|AKIA|ASIA|AIza|LTAI|AKID")


def entropy(text: bytes) -> float:
    """Bits per byte of the distribution of bytes in `text`."""
    return -sum(c / len(text) * math.log2(c / len(text)) for c in Counter(text).values())


def key(text: Document, match: Match) -> Span | None:
    """Refuse placeholders (`sk-xxxxxxxx...`, `BEGIN PRIVATE KEY ... END`) and style names (`sk-folding-cube-...`)."""
    found, span = match.group(), match.span()
    if found.startswith(b"-----"):
        return span if _BASE64_RUN.search(found) else None
    if found.startswith(b"sk-") and not (_LONG_RUN.search(found) and any(48 <= b < 58 for b in found)):
        return None
    group = match.lastgroup
    if group is not None:
        found, span = match.group(group), match.span(group)
    head = _HEAD.match(found)
    return span if entropy(found[head.end() :] if head else found) >= MIN_KEY_ENTROPY else None
