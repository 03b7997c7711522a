"""Franka Research 3: figures of its public description and of its control box; housing of capsules and cylinders."""

from __future__ import annotations

from math import pi

from controllers.description.arm import ArmDescription, Inertia, Joint, Link, inertia_matrix, narrower, vector
from controllers.description.geometry import Capsule, Cylinder, Geom, Pose, Rgba, Vector3

_WHITE: Rgba = (0.93, 0.94, 0.95, 1.0)
_GREY: Rgba = (0.62, 0.65, 0.68, 1.0)
_DARK: Rgba = (0.22, 0.24, 0.27, 1.0)

# name -> origin of the joint in the parent link [m], roll [rad] (pitch and yaw are zero)
_ORIGINS: tuple[tuple[Vector3, float], ...] = (
    ((0.0, 0.0, 0.333), 0.0),
    ((0.0, 0.0, 0.0), -pi / 2),
    ((0.0, -0.316, 0.0), pi / 2),
    ((0.0825, 0.0, 0.0), pi / 2),
    ((-0.0825, 0.384, 0.0), -pi / 2),
    ((0.0, 0.0, 0.0), pi / 2),
    ((0.088, 0.0, 0.0), pi / 2),
)
_FLANGE_OFFSET_M = 0.107

DESCRIBED_LIMITS_RAD: tuple[tuple[float, float], ...] = (
    (-2.7501, 2.7501),
    (-1.7918, 1.7918),
    (-2.9065, 2.9065),
    (-3.0481, -0.1458),
    (-2.8101, 2.8101),
    (0.54092, 4.5205),
    (-3.0196, 3.0196),
)
"""Joint position limits of the public robot description."""

BOX_LIMITS_RAD: tuple[tuple[float, float], ...] = (
    (-2.9007, 2.9007),
    (-1.8361, 1.8361),
    (-2.9007, 2.9007),
    (-3.0770, -0.1169),
    (-2.8763, 2.8763),
    (0.4398, 4.6216),
    (-3.0508, 3.0508),
)
"""Joint position limits that the control box enforces."""

# Both sources agree on speed and torque.
_MAX_VELOCITY_RAD_S = (2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26)
_MAX_TORQUE_NM = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_ARMATURE_KG_M2 = (0.195, 0.195, 0.195, 0.195, 0.074, 0.074, 0.074)
_DAMPING_NMS_RAD = 0.003
_FRICTION_NM = 0.2

# mass [kg], centre of mass [m], moments ixx iyy izz and products ixy ixz iyz about it [kg m^2]
_INERTIAS: tuple[tuple[float, Vector3, Vector3, Vector3], ...] = (
    (2.3966, (-0.0172, 0.0004, 0.0745), (0.009, 0.0115, 0.0085), (0.0, 0.002, 0.0)),
    (
        2.9274653454,
        (4.128e-07, -0.0181251, -0.0386036),
        (0.023927316485107913, 0.0224821613275756, 0.006350098258530016),
        (1.3317903455714081e-05, -0.00011404774918616684, -0.0019950320628240115),
    ),
    (
        2.9355370338,
        (0.00318289, -0.0743222, 0.00881461),
        (0.041938946257609425, 0.02514514885014724, 0.06170214472888839),
        (0.00020257331521090626, 0.004077784227179924, -0.0042252158006570156),
    ),
    (
        2.2449013699,
        (0.0407016, -0.00482006, -0.0289731),
        (0.02410142547240885, 0.01974053266708178, 0.019044494482244823),
        (0.002404694559042109, -0.002856269270114313, -0.002104212683891874),
    ),
    (
        2.6155955791,
        (-0.0459101, 0.0630493, -0.00851879),
        (0.03452998321913202, 0.028881621933049058, 0.04125471171146641),
        (0.01322552265982813, 0.01015142998484113, -0.0009762833870704552),
    ),
    (
        2.3271207594,
        (-0.00160396, 0.0292536, -0.0972966),
        (0.051610278463662895, 0.04787729713371481, 0.016423625579357254),
        (-0.005715173387783472, -0.0035673167625872135, 0.010673985108535986),
    ),
    (
        1.8170376524,
        (0.0597131, -0.0410295, -0.0101693),
        (0.005412333594383447, 0.014058329545509979, 0.016080817924212554),
        (0.006193456360285834, 0.0014219289306117652, -0.0013140753741120031),
    ),
    (
        0.6271432862,
        (0.00452258, 0.00862619, -0.0161633),
        (0.00021092389150104718, 0.00017718568002411474, 5.993190599659971e-05),
        (-2.433299114461931e-05, 4.564480393778983e-05, 8.744070223226438e-05),
    ),
)

_HOME_RAD = (0.0, -0.4, 0.0, -2.2, 0.0, 1.8, pi / 4)


def fr3() -> ArmDescription:
    """Returns the FR3; where sources differ on a limit, the narrower one holds."""
    links = tuple(
        Link(
            name=f"link{i}",
            inertia=Inertia(mass_kg=mass, com_m=vector(com), matrix_kg_m2=inertia_matrix(*moments, *products)),
            geoms=_housing(i),
        )
        for i, (mass, com, moments, products) in enumerate(_INERTIAS)
    )
    return ArmDescription(
        name="fr3",
        links=links,
        joints=tuple(_joint(i) for i in range(len(_ORIGINS))),
        T_last_flange=Pose(vector((0.0, 0.0, _FLANGE_OFFSET_M))),
        home_rad=_HOME_RAD,  # type: ignore[arg-type]  # made an array and checked by the class
        max_torque_rate_nm_s=1000.0,
        max_acceleration_rad_s2=10.0,
    )


def _joint(i: int) -> Joint:
    origin, roll = _ORIGINS[i]
    lower, upper = narrower(DESCRIBED_LIMITS_RAD[i], BOX_LIMITS_RAD[i])
    return Joint(
        name=f"fr3_joint{i + 1}",
        T_parent_joint=Pose.from_rpy(origin, (roll, 0.0, 0.0)),
        lower_rad=lower,
        upper_rad=upper,
        max_velocity_rad_s=_MAX_VELOCITY_RAD_S[i],
        max_torque_nm=_MAX_TORQUE_NM[i],
        armature_kg_m2=_ARMATURE_KG_M2[i],
        damping_nms_rad=_DAMPING_NMS_RAD,
        friction_nm=_FRICTION_NM,
    )


def _capsule(position_m: Vector3, radius_m: float, length_m: float, rgba: Rgba, pitch_rad: float = 0.0) -> Geom:
    pose = Pose.from_rpy(position_m, (0.0, pitch_rad, 0.0))
    return Capsule(pose=pose, radius_m=radius_m, length_m=length_m, rgba=rgba)


def _housing(link: int) -> tuple[Geom, ...]:
    """Returns the shapes of one link in its own frame: close to the real outline, some millimetres larger."""
    shapes: tuple[tuple[Geom, ...], ...] = (
        (
            Cylinder(pose=Pose(vector((0.0, 0.0, 0.07))), radius_m=0.07, length_m=0.14, rgba=_WHITE),
            _capsule((-0.075, 0.0, 0.06), 0.055, 0.04, _WHITE, pi / 2),
        ),
        (_capsule((0.0, 0.0, -0.12), 0.06, 0.14, _WHITE),),
        (_capsule((0.0, 0.0, 0.0), 0.06, 0.10, _GREY),),
        (_capsule((0.0, 0.0, -0.145), 0.06, 0.15, _WHITE), _capsule((0.04, 0.0, -0.03), 0.05, 0.05, _WHITE, pi / 2)),
        (_capsule((0.0, 0.0, 0.0), 0.06, 0.10, _GREY),),
        (
            _capsule((0.0, 0.0, -0.26), 0.06, 0.10, _WHITE),
            _capsule((0.0, 0.06, -0.13), 0.035, 0.16, _WHITE),
        ),
        (_capsule((0.0, 0.0, -0.01), 0.05, 0.06, _GREY),),
        (
            _capsule((0.0, 0.0, 0.03), 0.045, 0.05, _WHITE),
            Cylinder(pose=Pose(vector((0.0, 0.0, 0.0985))), radius_m=0.0315, length_m=0.017, rgba=_DARK),
        ),
    )
    return shapes[link]
