// Parts of libtorch that tch does not wrap: its threads and their state, functions with a gradient of their own, the
// TF32 switches. Declared in shim.rs. Each function but the last returns null or the message of an exception.

#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <vector>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>

using torch::autograd::variable_list;

namespace {

using Range = void (*)(const void* body, int64_t begin, int64_t end);
// Takes ownership of `gradient`. Stores a new tensor, or null, for each wanted gradient. Returns false on failure.
using Backward = bool (*)(const void* body, at::Tensor* gradient, const bool* wanted, at::Tensor** found);
using Drop = void (*)(void* body);

struct Function final : torch::autograd::Node {
  Function(void* body, Backward backward, Drop drop) : body(body), backward(backward), drop(drop) {}
  ~Function() override { drop(body); }

  variable_list apply(variable_list&& gradients) override {
    const size_t inputs = num_outputs();
    variable_list result(inputs);
    if (!gradients[0].defined()) return result;
    // A derivative of this derivative would silently be zero.
    TORCH_CHECK(!at::GradMode::is_enabled(), "a fused layer can be differentiated once only");
    const auto wanted = std::make_unique<bool[]>(inputs);
    for (size_t i = 0; i < inputs; ++i) wanted[i] = task_should_compute_output(i);
    std::vector<at::Tensor*> found(inputs, nullptr);
    const bool done = backward(body, new at::Tensor(gradients[0]), wanted.get(), found.data());
    for (size_t i = 0; i < inputs; ++i) {
      if (found[i] != nullptr) {
        result[i] = std::move(*found[i]);
        delete found[i];
      }
    }
    TORCH_CHECK(done, "a fused layer's gradient failed");
    return result;
  }

  void* body;
  Backward backward;
  Drop drop;
};

thread_local const at::ThreadLocalState* outside = nullptr;

// Remembers the state around a call until the end of the scope.
struct Outside final {
  explicit Outside(const at::ThreadLocalState* state) : before(outside) { outside = state; }
  ~Outside() { outside = before; }
  const at::ThreadLocalState* before;
};

// Calls `act`. An exception must not reach Rust: its message is returned, for the caller to free.
template <typename Act>
char* guarded(Act act) {
  try {
    act();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown C++ exception");
  }
}

}  // namespace

extern "C" {

char* cagan_parallel_for(int64_t length, int64_t grain, const void* body, Range range) {
  return guarded([&] {
    at::parallel_for(0, length, grain, [&](int64_t begin, int64_t end) { range(body, begin, end); });
  });
}

// Takes ownership of `body`. `output` must not have a history.
char* cagan_differentiable(at::Tensor* output, at::Tensor* const* inputs, size_t count, void* body, Backward backward,
                           Drop drop) {
  return guarded([&] {
    auto node = std::shared_ptr<Function>(new Function(body, backward, drop), torch::autograd::deleteNode);
    variable_list variables;
    for (size_t i = 0; i < count; ++i) variables.push_back(*inputs[i]);
    if (!torch::autograd::compute_requires_grad(variables)) return;
    node->set_next_edges(torch::autograd::collect_next_edges(variables));
    torch::autograd::set_history(*output, node);
  });
}

// The switches of torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn.allow_tf32.
char* cagan_allow_tf32(bool on) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(on);
    at::globalContext().setAllowTF32CuDNN(on);
  });
}

char* cagan_tf32_allowed(bool* products, bool* convolutions) {
  return guarded([&] {
    *products = at::globalContext().allowTF32CuBLAS();
    *convolutions = at::globalContext().allowTF32CuDNN();
  });
}

// Calls `run` with gradients on, inference mode off and autocast off, and restores the thread's state.
char* cagan_isolated(void* body, void (*run)(void* body)) {
  return guarded([&] {
    const at::ThreadLocalState state;
    const Outside innermost(&state);
    const c10::InferenceMode inference(false);
    const at::AutoGradMode gradients(true);
    const c10::impl::ExcludeDispatchKeyGuard autocast(c10::autocast_dispatch_keyset);
    run(body);
  });
}

// Calls `run` in the thread's state around the innermost cagan_isolated.
char* cagan_outside(void* body, void (*run)(void* body)) {
  return guarded([&] {
    if (outside == nullptr) return run(body);
    const at::ThreadLocalStateGuard state(*outside);
    run(body);
  });
}

void cagan_keep_memory() {
#ifdef __GLIBC__
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") || std::getenv("MALLOC_MMAP_THRESHOLD_")) return;
  // Older versions accept at most 32 MiB.
  if (!mallopt(M_MMAP_THRESHOLD, 1 << 30)) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}
}
