"""The quantizer in exact rational numbers, and its derivatives in float64: what tests compare with.

Written from the formulas of the design (sections 1, 2 and 4 of its arithmetic), one for one, and
slow. Nothing of the library is imported here. Weights are NumPy arrays [fan_in, filters], windows
are None or (width, top, below).
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

MARGIN = Fraction(1, 10000)  # relative, of a norm and its threshold


class Reach(NamedTuple):
    """Exponents of a type: of its smallest and largest power of two, and of the smallest number
    that does not count as zero (the smallest normal one of the type that is computed in)."""

    lowest: int
    highest: int
    smallest: int


REACH = {
    "float16": Reach(-24, 15, -126),
    "bfloat16": Reach(-126, 127, -126),
    "float32": Reach(-126, 127, -126),
    "float64": Reach(-1022, 1023, -1022),
}


def rational(x, reach=REACH["float32"]):
    """x as a fraction; zero if it is subnormal."""
    x = Fraction(float(x)) if not isinstance(x, Fraction) else x
    return x if abs(x) >= Fraction(2) ** reach.smallest else Fraction(0)


def floor_exponent(x):
    """floor(log2 x) of a positive fraction."""
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def nearest_exponent(x, rounding):
    """The exponent of R(x) for a positive fraction, without any limits."""
    e = floor_exponent(x)
    if rounding == "log":  # above sqrt(2) 2**e
        return e + (x * x > 2 * Fraction(4) ** e)
    return e + (2 * x > 3 * Fraction(2) ** e)  # above 1.5 2**e: a tie goes down


def limits(weights, k, window, rounding, reach):
    """The smallest and the largest exponent that a term of this layer may have.

    Where terms are added the largest is one lower than the type's, or their sum might be infinite.
    """
    reach = reach._replace(highest=reach.highest - (k > 1))
    if window is None:
        return reach.lowest, reach.highest
    width, top, _ = window
    if top is None:
        largest = max((abs(x) for x in weights), default=0)
        top = min(nearest_exponent(largest, rounding), reach.highest) if largest else reach.lowest
    return max(top - width + 1, reach.lowest), min(top, reach.highest)


def term_of(r, low, high, flush, rounding):
    """R(r) inside the window."""
    if r == 0:
        return Fraction(0)
    e = nearest_exponent(abs(r), rounding)
    if e < low and flush:
        return Fraction(0)
    power = Fraction(2) ** min(max(e, low), high)
    return power if r > 0 else -power


def is_open(squares, t, margin):
    """1(||r|| > t), decided by squares; refuses a norm too near its threshold for float32."""
    if t < 0:
        return True
    square = Fraction(float(t)) ** 2
    if squares and square:
        assert abs(squares - square) >= 2 * margin * square, "a norm too near its threshold"
    return squares > square


class Quantized(NamedTuple):
    """Q_n(w | t) for every n up to k, as the partial sums of one recursion within the same limits.

    q: [k + 1, fan_in, filters] Q_n; k, k_eff: [k + 1, filters] open gates among the first n, and
    those of them whose term has a non-zero element; residuals, terms: [k, fan_in, filters] r_l
    and R_l, open or not; opened: [k, filters] g_l.
    """

    q: np.ndarray
    k: np.ndarray
    k_eff: np.ndarray
    residuals: np.ndarray
    terms: np.ndarray
    opened: np.ndarray

    @property
    def norms(self):
        """[k, filters] ||r_l||, by scaled squares."""
        scale = np.abs(self.residuals).max(initial=0) or 1.0
        with np.errstate(over="ignore"):
            return np.sqrt(((self.residuals / scale) ** 2).sum(axis=1)) * scale


def quantize(w, t=None, k=3, window=None, rounding="log", gates="nested", margin=MARGIN):
    """Section 1, filter by filter."""
    reach = REACH[w.dtype.name]
    fan_in, filters = w.shape
    weights = [[rational(x, reach) for x in column] for column in w.T]
    low, high = limits([x for column in weights for x in column], k, window, rounding, reach)
    flush = window is not None and window[2] == "flush"
    t = None if t is None else np.broadcast_to(np.asarray(t).reshape(len(t), -1), (k, filters))
    q = np.zeros((k + 1, fan_in, filters))
    count, effective = np.zeros((2, k + 1, filters), np.int32)
    residuals, terms = np.zeros((2, k, fan_in, filters))
    opened = np.zeros((k, filters), bool)
    for i, r in enumerate(weights):
        total = [Fraction(0)] * fan_in
        for n in range(k):
            big = [term_of(x, low, high, flush, rounding) for x in r]
            opened[n, i] = t is None or is_open(sum(x * x for x in r), t[n, i], margin)
            if gates == "nested" and n:
                opened[n, i] &= opened[n - 1, i]
            residuals[n, :, i] = [float(x) for x in r]
            terms[n, :, i] = [float(x) for x in big]
            if opened[n, i]:
                r = [rational(x - y, reach) for x, y in zip(r, big, strict=True)]
                total = [x + y for x, y in zip(total, big, strict=True)]
            q[n + 1, :, i] = [float(x) for x in total]
            count[n + 1, i] = count[n, i] + opened[n, i]
            effective[n + 1, i] = effective[n, i] + (opened[n, i] and any(big))
    return Quantized(q, count, effective, residuals, terms, opened)


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


class Relaxed(NamedTuple):
    """The gates as section 2 sees them, [k, filters] each: rho_l, s_l, s'_l, m_l; u_l is
    [k, fan_in, filters]."""

    rho: np.ndarray
    u: np.ndarray
    s: np.ndarray
    slope: np.ndarray
    m: np.ndarray


def relax(found, t, gradient, temperature):
    rho = found.norms
    t = np.asarray(t, np.float64).reshape(len(rho), -1)
    norms = rho[:, None]
    u = np.divide(found.residuals, norms, out=np.zeros_like(found.residuals), where=norms > 0)
    margin = (rho - t) / temperature
    s = sigmoid(margin)
    m = found.opened if gradient == "open" else np.ones_like(found.opened)
    return Relaxed(rho, u, s, s * sigmoid(-margin) / temperature, m.astype(float))


def threshold_gradient(found, t, G, gradient="open", temperature=1.0):
    """Section 2, from the last gate to the first; [k, filters]."""
    _, u, s, slope, m = relax(found, t, gradient, temperature)
    c = np.asarray(G, np.float64)
    tbar = np.zeros_like(s)
    for n in reversed(range(len(s))):
        inner = (c * found.terms[n]).sum(axis=0)
        tbar[n] = -m[n] * slope[n] * inner
        c = c - m[n] * (s[n] * c + slope[n] * inner * u[n])
    return tbar


def threshold_gradient_of_paper(found, t, G, gradient="open", temperature=1.0):
    """The formula of the paper's section 4.2, for each threshold from the first term to the last.

    dr_l/dt_j = -dQ_l/dt_j, and dR(r_l)/dt_j is the same, straight through.
    """
    _, u, s, slope, m = relax(found, t, gradient, temperature)
    tbar = np.zeros_like(s)
    for j in range(len(s)):
        dq = np.zeros_like(u[0])
        for n in range(len(s)):
            dr = -dq
            drho = (u[n] * dr).sum(axis=0)
            dq = dq + m[n] * (slope[n] * (drho - (n == j)) * found.terms[n] + s[n] * dr)
        tbar[j] = (np.asarray(G, np.float64) * dq).sum(axis=0)
    return tbar


def relaxed_quantizer(found, t, moved, gradient="open", temperature=1.0):
    """A smooth function of the thresholds `moved` whose derivative at `t` is the paper's formula.

    Gates are sigmoids, R has slope one around the residuals that the hard gates leave, and these
    move by what the relaxed terms before them change. For k = 1 it is sigma(||w|| - t) R(w).
    """
    at = relax(found, t, gradient, temperature)
    moved = np.asarray(moved, np.float64).reshape(len(at.rho), -1)
    shift = np.zeros_like(at.u[0])  # r_l(moved) - r_l(t)
    total = np.zeros_like(shift)
    for n in range(len(at.rho)):
        rho = np.sqrt(((found.residuals[n] + shift) ** 2).sum(axis=0))
        term = sigmoid((rho - moved[n]) / temperature) * (found.terms[n] + shift)
        total = total + at.m[n] * term
        shift = shift - at.m[n] * (term - at.s[n] * found.terms[n])
    return total
