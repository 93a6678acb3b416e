/// Stands in for device_backend.cu where the program is built without nvcc.

#include <stdexcept>

#include "backend.hpp"
#include "plan.hpp"

namespace model_head {

std::optional<std::string> why_no_gpu() { return "this program was built without CUDA"; }

std::unique_ptr<Backend> make_device_backend(const Problem&, const Settings&) {
  throw std::runtime_error(*why_no_gpu());
}

Planner gpu_planner(const Shape&, const Settings&) { throw std::runtime_error(*why_no_gpu()); }

}  // namespace model_head
