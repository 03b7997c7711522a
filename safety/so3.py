"""Rotations as unit quaternions (x, y, z, w) and rotation vectors, on tuples of floats: no allocation inside the tick.

Source: Sola, "Quaternion kinematics for the error-state Kalman filter", chapters 1 and 4 (in Hamilton's convention).
"""

from __future__ import annotations

import math

from safety.compilation import Floats, kernel

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


@kernel
def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """Hamilton product a*b: first b, then a."""
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


@kernel
def conjugate(q: Quaternion) -> Quaternion:
    """Inverse of a unit quaternion."""
    return (-q[0], -q[1], -q[2], q[3])


@kernel
def normalise(q: Quaternion) -> Quaternion:
    """The unit quaternion along q; q must not be zero."""
    scale = 1.0 / math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return (q[0] * scale, q[1] * scale, q[2] * scale, q[3] * scale)


@kernel
def exp(w: Vector) -> Quaternion:
    """Quaternion of the rotation vector w [rad]."""
    angle = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    # sin(x/2)/x by its series where the quotient would lose digits
    scale = 0.5 - angle * angle / 48.0 if angle < 1e-4 else math.sin(0.5 * angle) / angle
    return normalise((w[0] * scale, w[1] * scale, w[2] * scale, math.cos(0.5 * angle)))


@kernel
def log(q: Quaternion) -> Vector:
    """Rotation vector [rad] of a unit quaternion along the shortest path, |w| <= pi."""
    x, y, z, w = q
    if w < 0.0:
        x, y, z, w = -x, -y, -z, -w
    sine = math.sqrt(x * x + y * y + z * z)
    scale = 2.0 / w * (1.0 - sine * sine / (3.0 * w * w)) if sine < 1e-4 else 2.0 * math.atan2(sine, w) / sine
    return (x * scale, y * scale, z * scale)


@kernel
def rotate(q: Quaternion, v: Vector) -> Vector:
    """R(q) v."""
    x, y, z, w = q
    tx = 2.0 * (y * v[2] - z * v[1])
    ty = 2.0 * (z * v[0] - x * v[2])
    tz = 2.0 * (x * v[1] - y * v[0])
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )


@kernel
def from_matrix(R: Floats) -> Quaternion:
    """Unit quaternion of a rotation matrix (3, 3), by Shepperd's method (always divides by the largest component)."""
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    if trace > max(R[0, 0], R[1, 1], R[2, 2]):
        return normalise((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], 1.0 + trace))
    if R[0, 0] >= R[1, 1] and R[0, 0] >= R[2, 2]:
        return normalise((1.0 + 2.0 * R[0, 0] - trace, R[1, 0] + R[0, 1], R[0, 2] + R[2, 0], R[2, 1] - R[1, 2]))
    if R[1, 1] >= R[2, 2]:
        return normalise((R[1, 0] + R[0, 1], 1.0 + 2.0 * R[1, 1] - trace, R[2, 1] + R[1, 2], R[0, 2] - R[2, 0]))
    return normalise((R[0, 2] + R[2, 0], R[2, 1] + R[1, 2], 1.0 + 2.0 * R[2, 2] - trace, R[1, 0] - R[0, 1]))


@kernel
def error(goal: Quaternion, measured: Quaternion) -> Vector:
    """Orientation error log3(R_goal R_measured^T) [rad] in base axes, shortest path; never the vector part alone."""
    return log(multiply(goal, conjugate(measured)))
