// How contacts give way in DART. Gazebo 11 has no setting for that.
//
// Declared here after DART 6.9, whose library Gazebo loads: its headers would bring Eigen, FCL and more for these three.

#pragma once

namespace dart::constraint {
class ContactConstraint {
 public:
  static void setErrorReductionParameter(double share);
  static void setMaxErrorReductionVelocity(double m_s);
  static void setConstraintForceMixing(double share);
};
}  // namespace dart::constraint

namespace robot_rl {

// Of the velocity that the contact has to stop, and of the penetration's `reduction`, 1 / (1 + mixing) goes in a step.
inline void SoftenContacts(double mixing, double reduction) {
  using dart::constraint::ContactConstraint;
  ContactConstraint::setConstraintForceMixing(mixing);
  ContactConstraint::setErrorReductionParameter(reduction);
  ContactConstraint::setMaxErrorReductionVelocity(1.0);  // by itself 1 mm/s: a soft contact would sink in
}

}  // namespace robot_rl
