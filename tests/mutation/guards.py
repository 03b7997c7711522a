"""The guard lines: where each stands, what is left when it is deleted, and the tests one of which must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guard:
    """One guard, and the text that takes its place."""

    path: str
    line: str
    """Found exactly once in the file."""
    without: str
    tests: tuple[str, ...]


_LIMITER = "tests/safety/test_reference_limiter.py"
_TORQUE = "tests/safety/test_torque_limits.py"
_LEDGER = "tests/safety/test_ledger.py"
_WATCH = "tests/safety/test_watch.py"
_REFLEX = "tests/safety/test_reflex.py"
_CRITIC = "tests/safety/test_risk_critic.py"
_PLACE = "tests/robot_rl/test_safety_critic_place.py"
_SUPERVISOR = "tests/safety/test_supervisor.py"
_GUARDS = "tests/controllers/test_guards.py"
_MAILBOX = "tests/controllers/test_shm_mailbox.py"
_MOTOR = "tests/controllers/test_motor_supervision.py"
_ARBITER = "tests/controllers/test_arbiter.py"
_BROKEN = "tests/controllers/test_chain_broken_state.py"
_FRANKA = "tests/controllers/test_franka_config.py"
_BITES = "tests/controllers/test_chain_refusals.py::test_each_check_of_the_intake_bites"


def _guards(path: str, tests: tuple[str, ...], *pairs: tuple[str, str]) -> tuple[Guard, ...]:
    return tuple(Guard(path, line, without, tests) for line, without in pairs)


GUARDS = (
    *_guards(
        "safety/torque_limits.py",
        (_TORQUE,),
        ("        if not math.isfinite(tau_wish[i]):\n            code = 3\n        elif", "        if"),
        ("        if code != 3:\n", "        if True:\n"),
        ("min(bound, max(-bound, share * tau_wish[i]))", "tau_wish[i]"),
        ("        if abs(step) > limits.max_step_nm:", "        if False:"),
        ("            share = limits.max_torque_nm[i] / abs(tau_wish[i])\n", ""),
    ),
    *_guards(
        "safety/reference_limiter.py",
        (_LIMITER,),
        ("    if angle <= max_angle_rad:", "    if True:"),
        ("    if change > limit:", "    if False:"),
        ("    if speed > max_speed:  # rounding", "    if False:  # rounding"),
    ),
    *_guards(
        "safety/reference_limiter.py",
        (_GUARDS,),
        ("    return min(limit, max(-limit, value))", "    return value"),
        ("    return value + min(max_step, max(-max_step, goal - value))", "    return goal"),
    ),
    *_guards(
        "controllers/reference.py",
        (_GUARDS,),
        ("            chain.reference_position[i] = position[i] + error[i]\n", ""),
        ("            chain.reference_velocity[i] = 0.0\n", ""),
        ("            rate = min(rate, chain.hold_rate_per_s[i])\n", "            pass\n"),
        ("    if turned:\n", "    if False:\n"),
    ),
    *_guards(
        "controllers/intake.py",
        (_BITES, _GUARDS),
        ("    if ahead <= 0 or (", "    if ("),
        ("(last_sequence >= 0 and ahead > MAX_SEQUENCE_STEP)", "False"),
        ("    if not command_is_finite(command):", "    if False:"),
        ("    if abs(math.sqrt(norm) - 1.0) > UNIT_TOLERANCE:", "    if False:"),
        ("command.stiffness[i] < limiter.stiffness_min[i] or ", ""),
        (" or command.stiffness[i] > limiter.stiffness_max[i]:", ":"),
        ("        if abs(command.feedforward_wrench_base[i]) > limiter.max_wrench[i]:", "        if False:"),
        ("command.damping_ratio < limiter.damping_ratio_min or ", ""),
        (" or command.damping_ratio > limiter.damping_ratio_max:", ":"),
        ("command.duration_s <= 0.0 or ", ""),
        (" or command.duration_s > MAX_DURATION_S:", ":"),
        ("    if age_ns > limiter.age_limit_s * 1e9:", "    if False:"),
        ("    if age_ns < -CLOCK_TOLERANCE_NS:", "    if False:"),
        ("    if math.sqrt(dx * dx + dy * dy + dz * dz) > limiter.max_jump_m:", "    if False:"),
        ("    if math.sqrt(turn[0] ** 2 + turn[1] ** 2 + turn[2] ** 2) > NEAR_PI_RAD:", "    if False:"),
        (" and not math.isinf(command.gripper_m)", ""),
        ("        total += state.wrench_tool[i]\n", "        pass\n"),
        ("        total += state.q_rad[i] + state.qd_rad_s[i]\n", "        pass\n"),
    ),
    *_guards(
        "controllers/goal.py",
        (_GUARDS,),
        ("min(limiter.box_max_base_m[i], max(limiter.box_min_base_m[i], wish))", "wish"),
        ("    if clipped:\n        chain.goal_reason = _CONE\n", ""),
        ("chain.goal_quaternion[i] = goal[i]", "chain.goal_quaternion[i] = q[i]"),
        ("    if age_s <= limiter.age_limit_s:\n", "    if True:\n"),
        ("    if age_s <= limiter.stop_s:\n", "    if True:\n"),
        (
            "    if age_s > limiter.latch_s:\n        chain.latched = _LATCHED\n        return _LATCHED\n",
            "",
        ),
        ("    fresh = now_ns - chain.goal_stamp_ns <= config.limiter.age_limit_s * 1e9", "    fresh = True"),
        (
            "chain.goal_stamp_ns < command.stamp_ns <= now_ns + CLOCK_TOLERANCE_NS",
            "chain.goal_stamp_ns < command.stamp_ns",
        ),
        (" and meant and chain.held == 0", " and chain.held == 0"),
        (" and chain.held == 0", ""),
        (" and chain.latched == 0 and chain.reflex.dropped == 0:", " and chain.reflex.dropped == 0:"),
        ("        if math.isfinite(tau_applied[i]):\n", "        if True:\n"),
        ("clip_scalar(tau_applied[i], config.torque.max_torque_nm[i])", "tau_applied[i]"),
        ("min(range_m[1], max(range_m[0], wish_m))", "wish_m"),
        ("    verdict = _REFUSED_LATCHED\n", "    verdict = _ACCEPTED\n"),
        (
            "        chain.goal_wrench[i] = 0.0\n    chain.goal_damping_ratio = config.limiter.hold_damping_ratio",
            "    chain.goal_damping_ratio = config.limiter.hold_damping_ratio",
        ),
    ),
    *_guards(
        "safety/ledger.py",
        (_LEDGER,),
        ("    if config.mode == 2 and need_j > available_j:", "    if False:"),
        (" - under_way(ledger, config), 0.0)", ", 0.0)"),
        (
            "max(ledger.tank_j + ledger.spring_j - under_way(ledger, config), 0.0)  # rounding may go below 0",
            "ledger.tank_j + ledger.spring_j - under_way(ledger, config)",
        ),
        ("range(newest, newest + config.repeat_ticks + 1)", "range(newest, newest + 1)"),
        ("    need_j = tick_j * (1 + config.repeat_ticks)", "    need_j = tick_j"),
        ("    if ledger.tank_j > config.tank_max_j:", "    if False:"),
        ("max(ledger.tank_j - config.tank_min_j, 0.0)", "ledger.tank_j"),
        ("    if config.mode == 2 and power_w > 0.0:", "    if False:"),
        ("limit * (size - 0.5 * limit)", "0.5 * size * size"),
        ("min(budget(ledger, config) / dt_s, config.max_active_power_w)", "config.max_active_power_w"),
        ("min(budget(ledger, config) / dt_s, config.max_active_power_w)", "budget(ledger, config) / dt_s"),
    ),
    *_guards(
        "controllers/energy.py",
        (_GUARDS,),
        ("    if wished_j - ledger.spring_j > budget(ledger, config.ledger):", "    if False:"),
        ("        share = max(available_j - soft_j, 0.0) / cost_j\n", "        pass\n"),
        ("            return chain.tau_previous\n", "            pass\n"),
        ("    if budget(ledger, config.ledger) <= 0.0:\n", "    if False:\n"),
        ("        chain.reference_velocity[i] *= low\n", ""),
    ),
    *_guards(
        "safety/watch.py",
        (_WATCH,),
        ("    if value > _AT_ONCE * limit:\n        return True\n", ""),
        ("    return beyond and count >= _NEEDED", "    return count >= _NEEDED"),
        ("count >= _NEEDED", "count > _NEEDED"),
        ("    return beyond and watch.was_inside != 0", "    return beyond"),
        ("    if inside:\n        watch.was_inside = 1\n", ""),
        ("    watch.was_inside = watch.same_ticks = 0\n", ""),
        ("        watch.history[index] = 0\n", "        pass\n"),
        ("    if trip == 0 and still_ticks >= config.stuck_ticks:", "    if False:"),
        ("        power_w += tau[i] * state.qd_rad_s[i]\n", ""),
        ("abs(state.qd_rad_s[i]) / config", "state.qd_rad_s[i] / config"),
        ("position[i] < box_min[i] - margin_m or ", ""),
        (" or position[i] > box_max[i] + margin_m:", ":"),
    ),
    *_guards(
        "controllers/chain.py",
        (_WATCH, _GUARDS),
        (
            "        enter_hold(position, quaternion, config, chain)\n        chain.latched = trip\n",
            "        chain.latched = trip\n",
        ),
        ("        chain.latched = trip\n", ""),
        ("joint_margin(state.q_rad, config.impedance) < config.impedance.limit_stop_rad", "False"),
        ("    if not reading_is_finite(state, terms):", "    if False:"),
    ),
    *_guards(
        "safety/reflex.py",
        (_REFLEX,),
        ("        if memory.mode_ticks >= config.max_reflex_ticks:", "        if False:"),
        ("    if risk > config.eps_hard:", "    if False:"),
        ("    if recent >= config.holds_to_stop:", "    if False:"),
        (
            " and memory.mode_ticks >= config.dwell_ticks:\n            return enter(memory, _SOFT",
            ":\n            return enter(memory, _SOFT",
        ),
        ("risk < config.eps_soft and force_n < config.hold_exit_n", "risk < config.eps_soft"),
        (" and memory.tick - entered <= config.hold_window_ticks:", ":"),
    ),
    *_guards(
        "controllers/arbiter.py",
        (_GUARDS,),
        ("not math.isfinite(critic.value) else", "False else"),
        ("share = min(1.0, config.reflex.max_offset_m / length_m) if length_m > 0.0 else 0.0", "share = 1.0"),
        ("min(limiter.box_max_base_m[i], max(limiter.box_min_base_m[i], goal))", "goal"),
        ("min(risk.recovery_stiffness[i], config.reflex.max_recovery_stiffness[i])", "risk.recovery_stiffness[i]"),
    ),
    *_guards(
        "safety/risk_critic.py",
        (_CRITIC,),
        ("            inside = False\n", "            pass\n"),
        ("        if not math.isfinite(z):\n            return 1.0\n", ""),
        ("        if not math.isfinite(z):\n            risk.has_recovery = 0\n            return\n", ""),
    ),
    *_guards(
        "safety/risk_weights.py",
        (_PLACE,),
        (', "lookahead_s", "surface")', ', "lookahead_s")'),
    ),
    *_guards(
        "safety/risk_critic.py",
        (_PLACE,),
        ("        if self.surface is not None and not _is_surface(self.surface):", "        if False:"),
    ),
    *_guards(
        "safety/risk_weights.py",
        (_CRITIC,),
        ('    if weights["layout"] != layout_number():', "    if False:"),
        ("    if not all(np.isfinite(weights[name]).all() for name in CRITIC_WEIGHTS.names or ()):", "    if False:"),
        ('    if weights["version"] <= 0 or weights["version"] < version:', "    if False:"),
        ("    if any(not np.isclose(weights[name], critic[name]).all() for name in limits):", "    if False:"),
        ('    if not 0.0 < weights["discount"] < 1.0 or', "    if"),
        (' or (weights["box_low"] >= weights["box_high"]).any():', ":"),
        ('weights["version"] == in_use["version"] and digest(weights) != digest(in_use)', "False"),
    ),
    *_guards(
        "controllers/shared_memory/mailbox.py",
        (_MAILBOX,),
        ("finished and self._slots.checksums[slot][0] == checksum(payload, number)", "finished"),
    ),
    *_guards(
        "controllers/latch_memory.py",
        (_MOTOR,),
        (" and words[1] == _checksum(words)", ""),
        ("    if not whole:\n", "    if False:\n"),
    ),
    *_guards(
        "controllers/motor_supervision.py",
        (_MOTOR,),
        ("pressed and now_ns - person[Person.BUTTON_NS] > _BUTTON_SILENCE_NS:", "False:"),
        ("if person[Person.PID] != self._presser:", "if False:"),
        ("        if estop_ns != self._estop_ns:", "        if False:"),
        (" or self._chain.latched > self.supervisor.reason:", ":"),
    ),
    *_guards(
        "safety/reflex.py",
        (_REFLEX, _ARBITER),
        ("    elif before == _REFLEX and hold_or_stop(memory, config) == _STOP:\n        mode = _STOP\n", ""),
    ),
    *_guards(
        "controllers/energy.py",
        (_BROKEN,),
        ("        write_off(ledger, config.ledger, ticks)\n        return\n", "        return\n"),
        ("        write_off(ledger, config.ledger, ticks)\n        drop_spring", "        drop_spring"),
        (
            "        write_off(ledger, config.ledger, elapsed_ticks(state, config, chain))\n    else:\n",
            "        pass\n    else:\n",
        ),
        ("* config.ledger.reach_rad[i]:", "* 1e9:"),
        ("    if enforced and joints_jumped(", "    if False and joints_jumped("),
        (
            "joints_jumped(state.q_rad, ticks + config.ledger.repeat_ticks, config, chain):\n        ledger.open = c",
            "joints_jumped(state.q_rad, ticks, config, chain):\n        ledger.open = c",
        ),
        ("        ledger.open = chain.held = 0\n", "        chain.held = 0\n"),
        ("        chain.latched = max(chain.latched, _STATE_INVALID)\n", ""),
    ),
    *_guards(
        "controllers/robots/franka_motor.py",
        (_FRANKA,),
        ('    config = with_drive_reserve(given.get("chain") or', '    config = (given.get("chain") or'),
        ("max(ledger.repeat_ticks, REPEAT_TICKS)", "ledger.repeat_ticks"),
        ("max(ledger.delay_ticks, DELAY_TICKS)", "ledger.delay_ticks"),
    ),
    *_guards("safety/ledger.py", (_BROKEN,), ("max(most_j, ticks * ledger", "max(most_j, ledger")),
    *_guards(
        "controllers/chain.py",
        (_BROKEN,),
        ("    settle_until_seed(state[0], config[0], chain[0])\n", ""),
        ("        chain.latched = max(chain.latched, trip)\n", ""),
    ),
    *_guards(
        "safety/supervisor.py",
        (_SUPERVISOR,),
        ("        if pressed_ns <= self._tripped_ns:", "        if False:"),
        ("                if self._required[source]:", "                if False:"),
        ("        if now_ns - pressed_ns < _ns(self.config.press_s):", "        if False:"),
        ("        if self._estop_pressed:\n", "        if False:\n"),
        ("        if pressed and not self._estop_pressed:", "        if pressed:"),
        ("        if obstacle != Answer.GRANTED:\n            return obstacle\n", ""),
        (" and self.recoveries_left(now_ns) > 0:", ":"),
        ("        listed = self.reason in self._automatic_codes and", "        listed ="),
        (" and not self._inherited\n", "\n"),
        (" and (self._simulation or not self._takes_a_person):", ":"),
        ("        if following and not resetting:", "        if False:"),
        (" and now_ns - self._grants[0] < _GRANT_WINDOW_NS:", " and False:"),
        ("            if age_ns > self._hard_ns[source]:", "            if False:"),
        ("        if now_ns - min(times) <= _LATE_WINDOW_NS:", "        if False:"),
        (" and now_ns - self._reset_ns <= _ns(self.config.reset_valid_s):", ":"),
    ),
    *_guards(
        "safety/supervision.py",
        (_SUPERVISOR,),
        ("        if refused:", "        if False:"),
        (
            "return None if stamp_ns > now_ns + CLOCK_TOLERANCE_NS else min(stamp_ns, now_ns)",
            "return min(stamp_ns, now_ns)",
        ),
    ),
)
