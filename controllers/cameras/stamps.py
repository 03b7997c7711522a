"""When a picture was exposed, on this machine's clock, from stamps of the camera's own clock.

A frame with hardware time h arrives at a = h + o(h) + l: o is the offset of the two clocks, which drifts by at most
rho, and l > 0 the time that exposure, transfer and scheduling took. Neither is known, only a - h = o + l; but l is
small for some frames. So the offset is estimated by the smallest a - h of a window, each aged by the drift that there
may have been since:

    o_est(h) = min over the window of (a_k - h_k) + rho (h - h_k)

For every frame o(h) + l_least <= o_est(h) <= min_k o(h) + l_k + 2 rho (h - h_k): the stamp h + o_est lies after the
exposure by no less than the quickest transfer of the window, and not after the arrival. Stamps also keep their order.
What the quickest transfer takes cannot be seen from here; `delay_s` takes it off once a calibration has found it.
"""

from __future__ import annotations

from collections import deque

DRIFT = 100e-6
"""Two quartz clocks drift apart by less than this [s/s]: 50 parts in a million each."""
WINDOW_S = 10.0
"""A frame that arrived sooner than its stamp allows misleads for at most this long [s]."""
PERIOD_TOLERANCE = 0.2
"""Share by which the measured period may differ from the nominal one."""
JUMP_S = 0.2
"""A stamp that is off by more than this from what frame numbers and period say has jumped [s]."""
_PERIOD_FRAMES = 15


class ClockMap:
    """Maps stamps of one camera to CLOCK_MONOTONIC. Not thread-safe: it belongs to the thread that reads frames."""

    def __init__(self, period_s: float, delay_s: float = 0.0, window_s: float = WINDOW_S, drift: float = DRIFT) -> None:
        """period_s: nominal time between two frames; delay_s: exposure to arrival of the quickest frame, if known."""
        if not (period_s > 0.0 and window_s > 0.0 and delay_s >= 0.0 and drift >= 0.0):
            raise ValueError(
                f"expected period_s and window_s above 0, delay_s and drift at least 0, got {period_s}, {window_s}, "
                f"{delay_s}, {drift}"
            )
        self._period_ns, self._delay_ns = period_s * 1e9, round(delay_s * 1e9)
        self._window_ns, self._drift = round(window_s * 1e9), drift
        self._begin = (0, 0)  # (h, a - h) of the first frame: small differences keep their nanoseconds in a float
        self._least: deque[tuple[int, float]] = deque()  # (h, aged a - h) of the window, both ascending
        self._steps: deque[tuple[int, int]] = deque(maxlen=_PERIOD_FRAMES + 1)  # (number, h) of the newest frames
        self._stamp_ns = 0
        self.jumps = 0
        """How often a stamp jumped; the estimate then began anew."""

    def stamp(self, number: int, hardware_ns: int, received_ns: int) -> int:
        """Returns the exposure time of a frame on CLOCK_MONOTONIC [ns]; later than that of the frame before."""
        if self._jumped(number, hardware_ns):
            self.jumps += 1
            self._least.clear()
            self._steps.clear()
        self._steps.append((number, hardware_ns))
        if not self._least:
            self._begin = hardware_ns, received_ns - hardware_ns
        h0, offset0_ns = self._begin
        drift_ns = self._drift * (hardware_ns - h0)
        key = received_ns - hardware_ns - offset0_ns - drift_ns
        while self._least and self._least[-1][1] >= key:
            self._least.pop()
        self._least.append((hardware_ns, key))
        while hardware_ns - self._least[0][0] > self._window_ns:
            self._least.popleft()
        offset_ns = offset0_ns + round(self._least[0][1] + drift_ns)
        stamp_ns = min(hardware_ns + offset_ns, received_ns) - self._delay_ns
        self._stamp_ns = max(stamp_ns, self._stamp_ns + 1)
        return self._stamp_ns

    @property
    def period_s(self) -> float:
        """The measured time between two frames on the camera's clock [s], lost ones counted; nominal at the start."""
        steps = tuple(self._steps)  # another thread may ask
        if len(steps) <= _PERIOD_FRAMES:
            return self._period_ns * 1e-9
        (first, begin_ns), (last, end_ns) = steps[0], steps[-1]
        return (end_ns - begin_ns) / max(last - first, 1) * 1e-9

    @property
    def period_is_off(self) -> bool:
        """Whether the measured period differs from the nominal one by more than 20 %, as with too long an exposure."""
        nominal_s = self._period_ns * 1e-9
        return abs(self.period_s - nominal_s) > PERIOD_TOLERANCE * nominal_s

    @property
    def alarms(self) -> tuple[str, ...]:
        """What is wrong, in sentences."""
        said = []
        if self.jumps:
            said.append(f"stamps jumped {self.jumps} times: its clock was set, or frames were stamped anew")
        if self.period_is_off:
            said.append(
                f"a frame every {self.period_s * 1e3:.1f} ms instead of {self._period_ns * 1e-6:.1f} ms: shorten the "
                "exposure, or look at its USB connection"
            )
        return tuple(said)

    def _jumped(self, number: int, hardware_ns: int) -> bool:
        """Whether a stamp fits neither the one before nor the number of frames since."""
        if not self._steps:
            return False
        before, before_ns = self._steps[-1]
        step_ns = hardware_ns - before_ns
        expected_ns = max(number - before, 1) * self._period_ns
        return step_ns <= 0 or abs(step_ns - expected_ns) > JUMP_S * 1e9
