// A world plugin of Gazebo 11 that lets one client drive an arm step by step over a Unix socket.
//
// The physics thread waits in WorldUpdateBegin until the client asks for steps, and answers in WorldUpdateEnd after the
// last of them; everything else is answered between two steps, on the same thread, so that there are no locks.
//
// The drives hold arm and tool against gravity, as those of a real FR3 do: their torque, computed from the pose at the
// beginning of each step, comes on top of what the client asks for and does not count towards the joints' limits.
//
// In the plugin's SDF element: socket (path), model (the arm's name), wrist (joint of the tool), parent (process id;
// when that process is no longer our parent, the server ends itself), mixing and reduction (see dart_contacts.hh).

#include <algorithm>
#include <atomic>
#include <csignal>
#include <sstream>

#include <gazebo/common/Console.hh>
#include <gazebo/common/Events.hh>
#include <gazebo/common/Plugin.hh>
#include <gazebo/physics/Joint.hh>
#include <gazebo/physics/Link.hh>
#include <gazebo/physics/Model.hh>
#include <gazebo/physics/PhysicsEngine.hh>
#include <gazebo/physics/World.hh>

#include "dart_contacts.hh"
#include "lockstep_socket.hh"

namespace robot_rl {

using gazebo::physics::JointPtr;
using gazebo::physics::LinkPtr;
using ignition::math::Pose3d;
using ignition::math::Quaterniond;
using ignition::math::Vector3d;

// A link with the joint that carries it; `from_parent` holds at a joint position of 0.
struct Segment {
  JointPtr joint;
  LinkPtr link;
  Pose3d from_parent;
  Pose3d pose;  // in the world, at the present joint positions
};

class LockstepPlugin : public gazebo::WorldPlugin {
 public:
  void Load(gazebo::physics::WorldPtr world, sdf::ElementPtr sdf) override {
    world_ = world;
    model_name_ = sdf->Get<std::string>("model");
    wrist_name_ = sdf->Get<std::string>("wrist");
    parent_ = sdf->Get<int>("parent", 0).first;
    SoftenContacts(sdf->Get<double>("mixing"), sdf->Get<double>("reduction"));
    socket_.Listen(sdf->Get<std::string>("socket"));
    using gazebo::event::Events;
    interrupt_ = Events::ConnectSigInt([this] { ending_ = true; });
    begin_ = Events::ConnectWorldUpdateBegin([this](const gazebo::common::UpdateInfo &) { OnBegin(); });
    end_ = Events::ConnectWorldUpdateEnd([this] { OnEnd(); });
  }

 private:
  // --- the two moments of a step

  void OnBegin() {
    if (remaining_ == 0) ServeUntilStep();
    if (joints_.empty()) return;  // ended before anybody said hello
    const std::vector<double> gravity = GravityTorques();
    for (std::size_t i = 0; i < joints_.size(); ++i) joints_[i]->SetForce(0, tau_[i] + gravity[i]);
    if (push_force_ == Vector3d::Zero && push_moment_ == Vector3d::Zero) return;
    pushed_->AddForce(push_force_);
    pushed_->AddTorque(push_moment_);
  }

  void OnEnd() {
    if (remaining_ == 0) return;
    ++steps_;
    fresh_ = false;
    if (--remaining_ > 0) return;
    SendState(STEP);
  }

  void ServeUntilStep() {
    while (!ending_ && remaining_ == 0) {
      if (parent_ > 0 && getppid() != parent_) {
        gzwarn << "lock-step: its parent is gone, the server ends\n";
        parent_ = 0;
        kill(getpid(), SIGINT);
      }
      if (socket_.Wait(kWaitMs)) ServeOne();
    }
  }

  void ServeOne() {
    Head head;
    if (!socket_.Receive(head, body_)) {  // nobody drives any more
      std::fill(tau_.begin(), tau_.end(), 0.0);
      push_force_ = push_moment_ = Vector3d::Zero;
      return;
    }
    try {
      Serve(head);
    } catch (const std::invalid_argument &error) {
      const std::string text = error.what();
      socket_.Send(head.operation, REFUSED, text.data(), text.size());
    }
  }

  void Serve(const Head &head) {
    if (head.operation == HELLO) return Hello(head.argument);
    if (joints_.empty()) throw std::invalid_argument("say hello first");
    if (head.operation == STEP) return Step(head.argument);
    if (head.operation == RESET) {
      Reset();
    } else if (head.operation == POSE) {
      Place();
    } else if (head.operation == SLIDE) {
      Slide();
    } else if (head.operation == PUSH) {
      const double *values = body_.Numbers(6);
      push_force_ = {values[0], values[1], values[2]};
      push_moment_ = {values[3], values[4], values[5]};
    } else if (head.operation != GET) {
      throw std::invalid_argument("unknown operation " + std::to_string(head.operation));
    }
    SendState(head.operation);
  }

  // --- what a client may ask for

  void Hello(std::uint32_t version) {
    if (version != kVersion) {
      throw std::invalid_argument("this plugin speaks version " + std::to_string(kVersion));
    }
    const auto model = world_->ModelByName(model_name_);
    if (!model) throw std::invalid_argument("the world has no model " + model_name_);
    std::vector<JointPtr> joints;
    std::istringstream names(body_.Text());
    for (std::string name; std::getline(names, name);) {
      joints.push_back(model->GetJoint(name));
      if (!joints.back()) throw std::invalid_argument("model " + model_name_ + " has no joint " + name);
    }
    const auto wrist = model->GetJoint(wrist_name_);
    if (joints.empty() || !wrist) throw std::invalid_argument("joints and the wrist's joint are needed");
    if (joints_.empty()) Adopt(joints, wrist);
    if (joints != joints_) throw std::invalid_argument("the joints differ from those of the first client");
    std::vector<double> reply = {world_->Physics()->GetMaxStepSize(), static_cast<double>(joints_.size())};
    reply.insert(reply.end(), limits_.begin(), limits_.end());
    socket_.Send(HELLO, reply);
  }

  // Takes the arm over as it stands at its first moment, all joints at 0.
  void Adopt(const std::vector<JointPtr> &joints, const JointPtr &wrist) {
    base_ = joints.front()->GetParent()->WorldPose();
    Pose3d parent = base_;
    for (std::size_t i = 0; i <= joints.size(); ++i) {
      const JointPtr &joint = i < joints.size() ? joints[i] : wrist;
      const Pose3d pose = joint->GetChild()->WorldPose();
      segments_.push_back({joint, joint->GetChild(), parent.Inverse() * pose, pose});
      parent = pose;
    }
    pushed_ = joints.back()->GetChild();  // before the wrist, whose sensor shall not feel the push
    for (const JointPtr &joint : joints) {
      limits_.push_back(joint->GetEffortLimit(0));
      joint->SetEffortLimit(0, -1.0);  // ours hold for the client's share alone
    }
    tau_.assign(joints.size(), 0.0);
    joints_ = joints;
  }

  void Step(std::uint32_t steps) {
    if (steps == 0) throw std::invalid_argument("expected one step or more");
    const double *tau = body_.Numbers(joints_.size());
    for (std::size_t i = 0; i < tau_.size(); ++i) tau_[i] = std::clamp(tau[i], -limits_[i], limits_[i]);
    remaining_ = steps;
  }

  void Reset() {
    const double *values = body_.Numbers(2 * joints_.size());
    for (std::size_t i = 0; i < joints_.size(); ++i) {
      joints_[i]->SetPosition(0, values[i]);
      joints_[i]->SetVelocity(0, values[joints_.size() + i]);
      tau_[i] = 0.0;
    }
    fresh_ = true;
  }

  void Place() {
    const double *values = body_.Numbers(7, true);
    const auto model = Fixture(body_.Text(7));
    const Quaterniond rotation(values[6], values[3], values[4], values[5]);
    model->SetWorldPose(Pose3d({values[0], values[1], values[2]}, rotation));
  }

  void Slide() {
    const double *values = body_.Numbers(3, true);
    const auto model = Fixture(body_.Text(3));
    const auto joints = model->GetJoints();
    if (joints.size() != 3) throw std::invalid_argument("model " + model->GetName() + " does not slide");
    for (std::size_t i = 0; i < 3; ++i) {
      joints[i]->SetPosition(0, values[i]);
      joints[i]->SetVelocity(0, 0.0);
    }
  }

  gazebo::physics::ModelPtr Fixture(const std::string &name) {
    const auto model = world_->ModelByName(name);
    if (!model || name == model_name_) throw std::invalid_argument("the world has no fixture " + name);
    return model;
  }

  // --- the arm

  void FollowJoints() {
    Pose3d parent = base_;
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      Segment &segment = segments_[i];
      const double angle = i < joints_.size() ? segment.joint->Position(0) : 0.0;
      segment.pose = parent * segment.from_parent * Pose3d(Vector3d::Zero, Quaterniond(Vector3d::UnitZ, angle));
      parent = segment.pose;
    }
  }

  // What holds everything behind each joint against gravity: -axis . sum (com - origin) x m g.
  std::vector<double> GravityTorques() {
    FollowJoints();
    std::vector<double> torques(joints_.size(), 0.0);
    double mass = 0.0;
    Vector3d moment;  // sum of m com of the segments from i on
    for (std::size_t i = segments_.size(); i-- > 0;) {
      const auto inertial = segments_[i].link->GetInertial();
      mass += inertial->Mass();
      moment += inertial->Mass() * segments_[i].pose.CoordPositionAdd(inertial->CoG());
      if (i >= joints_.size()) continue;
      const Vector3d arm = moment - mass * segments_[i].pose.Pos();
      torques[i] = -segments_[i].pose.Rot().ZAxis().Dot(arm.Cross(world_->Gravity()));
    }
    return torques;
  }

  // What the flange exerts on the tool, in axes of the flange and about its origin.
  void AppendReading(std::vector<double> &numbers) {
    const Segment &tool = segments_.back();
    Vector3d force, moment;
    if (fresh_) {  // no step since the arm was put somewhere: what a tool at rest in free space would show
      const auto inertial = tool.link->GetInertial();
      force = -tool.pose.Rot().RotateVectorReverse(inertial->Mass() * world_->Gravity());
      moment = inertial->CoG().Cross(force);
    } else {
      const auto wrench = tool.joint->GetForceTorque(0);
      force = -wrench.body2Force;
      moment = -wrench.body2Torque;
    }
    Append(numbers, force);
    Append(numbers, moment);
  }

  void SendState(std::uint32_t operation) {
    FollowJoints();
    std::vector<double> state = {static_cast<double>(steps_) * world_->Physics()->GetMaxStepSize()};
    for (const JointPtr &joint : joints_) state.push_back(joint->Position(0));
    for (const JointPtr &joint : joints_) state.push_back(joint->GetVelocity(0));
    state.insert(state.end(), tau_.begin(), tau_.end());
    AppendReading(state);
    const Quaterniond &rotation = segments_.back().pose.Rot();
    for (const Vector3d &axis : {rotation.XAxis(), rotation.YAxis(), rotation.ZAxis()}) Append(state, axis);
    socket_.Send(operation, state);
  }

  static void Append(std::vector<double> &numbers, const Vector3d &vector) {
    numbers.insert(numbers.end(), {vector.X(), vector.Y(), vector.Z()});
  }

  static constexpr int kWaitMs = 200;

  gazebo::physics::WorldPtr world_;
  std::string model_name_, wrist_name_;
  int parent_ = 0;
  ClientSocket socket_;
  Body body_;
  std::atomic<bool> ending_{false};
  std::uint32_t remaining_ = 0;
  std::uint64_t steps_ = 0;  // Gazebo's own time is that of the step that waits to begin
  bool fresh_ = true;  // no step since the arm was put somewhere
  Pose3d base_;
  std::vector<Segment> segments_;  // one a joint, and the tool
  std::vector<JointPtr> joints_;
  LinkPtr pushed_;
  std::vector<double> tau_, limits_;
  Vector3d push_force_, push_moment_;
  gazebo::event::ConnectionPtr interrupt_, begin_, end_;
};

GZ_REGISTER_WORLD_PLUGIN(LockstepPlugin)

}  // namespace robot_rl
