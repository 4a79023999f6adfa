"""Train a supervised fastText classifier: number the words of a corpus, then stochastic gradient descent over bags of rows.

V distinct words, R rows of the input matrix (words, then buckets of n-grams), D dimensions, L labels, T tokens, n documents.

The arithmetic is that of fastText 0.9.2 run with one thread (`FastText::supervised`, `Model::update`, `SoftmaxLoss::forward`,
`DenseMatrix::uniform`): float32 sums in the order of the rows, the exponential in float64, the learning rate falling with
the tokens read and looked up anew every hundred tokens. One quirk is kept with it: a run with one thread draws random
numbers for the first tenth of the input matrix only and leaves the rest at zero. Rows at zero learn as well, since the
hidden layer is their mean with others; and memory for buckets that no n-gram of the corpus falls into is never touched.

Where we differ: words of one count keep the order in which they were first seen (fastText's sort leaves it to the
standard library, and with it the random start of each row); tokens that look like labels (`__label__...`) or like the end
of a line (`</s>`) inside a text are skipped, as they are when a document is scored. Sums run in one order and the exponential is
our own, so a seed gives the same bytes on every CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.kernels.compiled import kernel, leaf, ro, rw
from curate.kernels.compiled import types as nb
from curate.kernels.fasttext_words import OFFSET, hashed

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]


_U64: Any = np.uint64
_NGRAM_PRIME = _U64(116_049_371)  # fastText, Dictionary::addWordNgrams
_LR_UPDATE_TOKENS = 100
_SPREAD = np.uint32(0x9E3779B1)
_LABEL = np.frombuffer(b"__label__", np.uint8)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_TERMS = 14  # of the exponential's series on [-ln 2 / 2, ln 2 / 2]: below half a unit in the last place


@leaf
def _is_white(byte: Any) -> Any:
    return byte == 32 or (byte >= 9 and byte <= 13) or byte == 0


@leaf
def _is_mark(data: Any, start: Any, stop: Any) -> Any:
    """True for the end-of-line token and for tokens that fastText would take for labels."""
    if stop - start == 4 and data[start] == 60 and data[start + 1] == 47 and data[start + 2] == 115 and data[start + 3] == 62:
        return True
    if stop - start < 9:
        return False
    same = True
    for i in range(9):
        same &= data[start + i] == _LABEL[i]
    return same


@leaf
def _slot_of(slots: Any, hashes: Any, spelled: Any, starts: Any, data: Any, start: Any, size: Any, h: Any) -> Any:
    """Where a word stands in the table, or the free place where it belongs."""
    mask = slots.shape[0] - 1
    place = np.int64(np.uint32(h * _SPREAD)) & mask
    while slots[place] >= 0:
        word = slots[place]
        first = starts[word]
        if hashes[word] == h and starts[word + 1] - first == size:
            same = True
            for i in range(size):
                if spelled[first + i] != data[start + i]:
                    same = False
                    break
            if same:
                break
        place = (place + 1) & mask
    return place


_INTERN = nb.int64(
    ro(nb.uint8), ro(nb.int64), nb.int64, rw(nb.int32), rw(nb.uint32), rw(nb.uint8), rw(nb.int64), rw(nb.int64), rw(nb.int32),
    rw(nb.int64), rw(nb.int64),
)  # fmt: skip


@kernel(_INTERN, allocates=False)
def intern_words(
    data: Any, offsets: Any, first: Any, slots: Any, hashes: Any, spelled: Any, starts: Any, counts: Any, tokens: Any, ends: Any, state: Any
) -> Any:
    """Number the words of documents first, first + 1, ...; return the document that did not fit, n where all did.

    data u8[], offsets i64[n+1]: texts; words lie between space, \\t \\n \\v \\f \\r and NUL, as fastText reads them
    slots i32[power of two]: word number or -1; hashes u32[V'], spelled u8[], starts i64[V'+1], counts i64[V']: the table
    tokens i32[T']: word numbers of the documents; ends i64[n]: where those of each document end
    state i64[3]: words and bytes in the table, tokens written
    A document that might not fit is not begun: the caller makes room for its bytes / 2 + 1 words and calls again from it.
    """
    n = offsets.shape[0] - 1
    for d in range(first, n):
        at, stop = offsets[d], offsets[d + 1]
        most = (stop - at) // 2 + 1
        words, bytes_, count = state[0], state[1], state[2]
        if (words + most) * 2 > slots.shape[0] or words + most > counts.shape[0] or bytes_ + stop - at > spelled.shape[0]:
            return d
        if count + most > tokens.shape[0]:
            return d
        while at < stop:
            h, start = OFFSET, at
            while at < stop and not _is_white(data[at]):
                h = hashed(h, data[at])
                at += 1
            size = at - start
            at += 1
            if size == 0 or _is_mark(data, start, start + size):
                continue
            place = _slot_of(slots, hashes, spelled, starts, data, start, size, h)
            word = np.int64(slots[place])
            if word < 0:
                word = words
                slots[place] = np.int32(word)
                hashes[word] = h
                for i in range(size):
                    spelled[bytes_ + i] = data[start + i]
                bytes_ += size
                words += 1
                starts[words] = bytes_
            counts[word] += 1
            tokens[count] = np.int32(word)
            count += 1
        state[0], state[1], state[2] = words, bytes_, count
        ends[d] = count
    return n


@kernel(nb.void(ro(nb.uint32), nb.int64, rw(nb.int32)), allocates=False)
def fill_slots(hashes: Any, n_words: Any, slots: Any) -> None:
    """Enter `n_words` different words into an empty table. hashes u32[V'], slots i32[power of two], all -1."""
    mask = slots.shape[0] - 1
    for word in range(n_words):
        place = np.int64(np.uint32(hashes[word] * _SPREAD)) & mask
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = np.int32(word)


@leaf
def _grams_of(spelled: Any, begin: Any, stop: Any, shortest: Any, longest: Any, n_words: Any, buckets: Any, rows: Any, count: Any) -> Any:
    """Append the rows of the n-grams of "<word>" (none for a single bracket) and return the new count; only count where `rows` is full."""
    size = stop - begin + 2
    for i in range(size):
        if i > 0 and i < size - 1 and spelled[begin + i - 1] & 0xC0 == 0x80:
            continue  # not the first byte of a character
        h, j, n = OFFSET, i, 1
        while j < size and n <= longest:
            go = True
            while go:
                byte = np.uint8(60) if j == 0 else np.uint8(62) if j == size - 1 else spelled[begin + j - 1]
                h = hashed(h, byte)
                j += 1
                go = j < size - 1 and spelled[begin + j - 1] & 0xC0 == 0x80
            if n >= shortest and not (n == 1 and (i == 0 or j == size)):
                if count < rows.shape[0]:
                    rows[count] = n_words + np.int64(h) % buckets
                count += 1
            n += 1
    return count


_ROWS = nb.int64(ro(nb.uint8), ro(nb.int64), ro(nb.int64), nb.int64, nb.int64, nb.int64, nb.int64, rw(nb.int64), rw(nb.int64))


@kernel(_ROWS, allocates=False)
def rows_of_words(
    spelled: Any, starts: Any, row_of: Any, shortest: Any, longest: Any, n_words: Any, buckets: Any, row_starts: Any, rows: Any
) -> Any:
    """List for every word of the table its row in the dictionary, if it has one, and the rows of its n-grams of characters.

    spelled u8[], starts i64[V+1]; row_of i64[V]: -1 for words below the minimum count; word 0 is </s>, which has no n-grams
    row_starts i64[V+1], rows i64[]: written, as far as `rows` has room. Returns the room that is needed.
    """
    count = np.int64(0)
    for word in range(row_of.shape[0]):
        row_starts[word] = count
        if row_of[word] >= 0:
            if count < rows.shape[0]:
                rows[count] = row_of[word]
            count += 1
        if word > 0 and longest > 0:
            count = _grams_of(spelled, starts[word], starts[word + 1], shortest, longest, n_words, buckets, rows, count)
    row_starts[row_of.shape[0]] = count
    return count


@kernel(nb.void(rw(nb.float32), nb.int64, nb.float64, nb.int64), allocates=False)
def random_start(weights: Any, count: Any, bound: Any, seed: Any) -> None:
    """Draw weights[:count] from [-bound, bound) as libstdc++ does with minstd_rand and uniform_real_distribution<double>."""
    x = _U64(seed) % _U64(2147483647)
    if x == _U64(0):
        x = _U64(1)
    span = 2147483646.0
    for i in range(count):
        x = x * _U64(48271) % _U64(2147483647)
        low = np.float64(x) - 1.0
        x = x * _U64(48271) % _U64(2147483647)
        unit = (low + (np.float64(x) - 1.0) * span) / (span * span)
        weights[i] = np.float32(unit * (2.0 * bound) - bound)


@leaf
def _exp(x: Any) -> Any:
    """exp(x) for x in [-700, 0], the same bits on every CPU. Horner's scheme after taking out powers of two."""
    k = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    p = 1.0
    for i in range(_TERMS, 0, -1):
        p = 1.0 + p * r / i
    scale = 1.0
    for _ in range(-np.int64(k)):
        scale *= 0.5
    return p * scale


@leaf
def _list_rows(
    tokens: Any, begin: Any, end: Any, hashes: Any, row_starts: Any, rows: Any, ngrams: Any, n_words: Any, buckets: Any, listed: Any
) -> Any:
    """Write the rows of one document: of its words and of </s> (word 0), then of its word n-grams. Returns how many."""
    count = 0
    for t in range(begin, end + 1):
        word = np.int64(tokens[t]) if t < end else np.int64(0)
        for k in range(row_starts[word], row_starts[word + 1]):
            listed[count] = rows[k]
            count += 1
    if ngrams < 2 or buckets == 0:
        return count
    for t in range(begin, end + 1):
        # Hashes are signed 32-bit numbers here, widened with their sign: so in fastText, where they lie in an int32 vector.
        h = _U64(np.int64(np.int32(hashes[tokens[t] if t < end else 0])))
        for u in range(t + 1, min(t + ngrams, end + 1)):
            h = h * _NGRAM_PRIME + _U64(np.int64(np.int32(hashes[tokens[u] if u < end else 0])))
            listed[count] = n_words + np.int64(h % _U64(buckets))
            count += 1
    return count


@leaf
def _step(
    weights: Any, output: Any, listed: Any, count: Any, dim: Any, n_labels: Any, target: Any, lr: Any, scratch: Any, chances: Any
) -> Any:
    """One gradient step of the softmax loss on one document. Returns its loss before the step."""
    # scratch: hidden layer, then gradient
    d = _U64(dim)
    for q in range(2 * dim):
        scratch[q] = np.float32(0)
    for k in range(count):
        base = _U64(listed[k]) * d
        for q in range(d):
            scratch[q] += weights[base + q]
    share = np.float32(1.0 / count)
    for q in range(d):
        scratch[q] *= share
    top = np.float32(-np.inf)
    for label in range(n_labels):
        dot = np.float32(0)
        base = _U64(label) * d
        for q in range(d):
            dot += output[base + q] * scratch[q]
        chances[label] = dot
        top = max(top, dot)
    z = np.float32(0)
    for label in range(n_labels):
        grown = np.float32(_exp(max(np.float64(np.float32(np.float32(chances[label]) - top)), -700.0)))
        chances[label] = grown
        z += grown
    for label in range(n_labels):
        chance = np.float32(chances[label]) / z
        chances[label] = chance
        alpha = lr * (np.float32(1 if label == target else 0) - chance)
        base = _U64(label) * d
        for q in range(d):
            scratch[d + q] += alpha * output[base + q]
            output[base + q] += alpha * scratch[q]
    for q in range(d):
        scratch[d + q] *= share
    for k in range(count):
        base = _U64(listed[k]) * d
        for q in range(d):
            weights[base + q] += scratch[d + q]
    return -np.log(max(chances[target], 1e-30))


_TRAIN = nb.float64(
    ro(nb.int32), ro(nb.int64), ro(nb.int64), ro(nb.int32), ro(nb.uint32), ro(nb.int64), ro(nb.int64), ro(nb.int64), nb.float64,
    rw(nb.float32), rw(nb.float32), rw(nb.int64), rw(nb.float32), rw(nb.float64), rw(nb.int64), nb.int64,
)  # fmt: skip


@kernel(_TRAIN, allocates=False)
def train(
    tokens: Any, offsets: Any, order: Any, labels: Any, hashes: Any, row_starts: Any, rows: Any, shape: Any, rate: Any,
    weights: Any, output: Any, listed: Any, scratch: Any, chances: Any, state: Any, steps: Any,
) -> Any:  # fmt: skip
    """Take up to `steps` documents, from where the state says, through one gradient step each; return their summed loss.

    tokens i32[T], offsets i64[n+1], labels i32[n]: the documents; order i64[n]: how they are taken, again and again
    hashes u32[V]; rows[row_starts[w] : row_starts[w + 1]] i64[]: rows of word w and of its subwords; word 0 is </s>
    shape i64[6]: dim, rows of words, buckets, word n-grams, tokens of all epochs, labels; rate: learning rate at the start
    weights f32[R * D], output f32[L * D]: trained in place
    listed i64[]: room for the rows of the longest document; scratch f32[2 * D], chances f64[L]
    state i64[4]: place in `order`, tokens seen as the learning rate counts them, tokens not counted yet, documents taken (by all calls)
    """
    dim, n_words, buckets, ngrams, goal, n_labels = shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]
    loss = 0.0
    for _ in range(steps):
        if state[1] >= goal:
            break
        d = order[state[0]]
        state[0] = (state[0] + 1) % order.shape[0]
        state[3] += 1
        progress = np.float32(state[1]) / np.float32(goal)
        lr = np.float32(rate * (1.0 - np.float64(progress)))
        begin, end = offsets[d], offsets[d + 1]
        state[2] += end - begin + 2  # its words, </s> and its label
        count = _list_rows(tokens, begin, end, hashes, row_starts, rows, ngrams, n_words, buckets, listed)
        if count > 0:
            loss += _step(weights, output, listed, count, dim, n_labels, labels[d], lr, scratch, chances)
        if state[2] > _LR_UPDATE_TOKENS:
            state[1] += state[2]
            state[2] = 0
    return loss
