// Parts of libtorch that tch does not wrap: its threads and their state, functions with a gradient of their own, its
// generators, the switches that round float32, sums over the processes of torch.distributed. Declared in shim.rs. Each function but those that return nothing returns
// null or the message of an exception.

#include <array>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <ATen/Context.h>
#include <ATen/DLConvertor.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/stack.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/linear.h>
#include <c10/core/AutogradState.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/version.h>

using torch::autograd::variable_list;

namespace {

using Range = void (*)(const void* body, int64_t begin, int64_t end);
// Takes ownership of `gradient`. Stores a new tensor, or null, for each wanted gradient. Returns null, or a message of
// `malloc`'s memory.
using Backward = char* (*)(const void* body, at::Tensor* gradient, const bool* wanted, at::Tensor** found);
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
    char* const failed = backward(body, new at::Tensor(gradients[0]), wanted.get(), found.data());
    for (size_t i = 0; i < inputs; ++i) {
      if (found[i] != nullptr) {
        result[i] = std::move(*found[i]);
        delete found[i];
      }
    }
    if (failed != nullptr) {
      const std::string message(failed);
      std::free(failed);
      TORCH_CHECK(false, "a fused layer's gradient failed: ", message);
    }
    return result;
  }

  void* body;
  Backward backward;
  Drop drop;
};

// What cagan_isolated changes of a thread's state. at::ThreadLocalState holds all of it, but has another size in another
// torch than this was compiled with.
struct State final {
  void restore() const {
    c10::AutogradState::set_tls_state(gradients);
    c10::impl::_force_tls_local_dispatch_key_set(keys);
  }

  c10::AutogradState gradients = c10::AutogradState::get_tls_state();
  c10::impl::LocalDispatchKeySet keys = c10::impl::tls_local_dispatch_key_set();
};

thread_local const State* outside = nullptr;

// Remembers the state around a call until the end of the scope.
struct Outside final {
  explicit Outside(const State* state) : before(outside) { outside = state; }
  ~Outside() { outside = before; }
  const State* before;
};

// The process's switches that let float32 products and convolutions round their inputs, and that of cuDNN's trying. torch has an old and a new way
// to set them, and a program may use both.
struct Rounding final {
  Rounding() {
    for (size_t i = 0; i < parts.size(); ++i)
      values[i] = at::globalContext().float32Precision(parts[i].first, parts[i].second);
    try {
      products = at::globalContext().float32MatmulPrecision();
    } catch (const c10::Error&) {
      // The ways disagree.
      products = values[0] == at::Float32Precision::TF32 ? at::Float32MatmulPrecision::HIGHEST
                                                         : at::Float32MatmulPrecision::HIGH;
    }
    try {
      convolutions = at::globalContext().allowTF32CuDNN();
    } catch (const c10::Error&) {
      convolutions = values[1] != at::Float32Precision::TF32;
    }
  }

  void restore() const {
    static constexpr std::array<const char*, 3> names = {"highest", "high", "medium"};
    at::globalContext().setFloat32MatmulPrecision(names[static_cast<size_t>(products)]);
    at::globalContext().setAllowTF32CuDNN(convolutions);
    at::globalContext().setBenchmarkCuDNN(tries);
    for (size_t i = 0; i < parts.size(); ++i)
      at::globalContext().setFloat32Precision(parts[i].first, parts[i].second, values[i]);
  }

  static constexpr std::array<std::pair<at::Float32Backend, at::Float32Op>, 5> parts = {{
      {at::Float32Backend::CUDA, at::Float32Op::MATMUL},
      {at::Float32Backend::CUDA, at::Float32Op::CONV},
      {at::Float32Backend::CUDA, at::Float32Op::RNN},
      {at::Float32Backend::MKLDNN, at::Float32Op::MATMUL},
      {at::Float32Backend::MKLDNN, at::Float32Op::CONV},
  }};
  std::array<at::Float32Precision, 5> values;
  at::Float32MatmulPrecision products;
  bool convolutions;
  bool tries = at::globalContext().benchmarkCuDNN();
};

// Waits for a collective on a tensor. The operators are those that torch.compile calls: libtorch_cpu has them, with or
// without CUDA, and chooses the backend by the tensor's device.
void wait_for(const at::Tensor& tensor) {
  static const auto wait = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("_c10d_functional::wait_tensor", "")
                               .typed<at::Tensor(const at::Tensor&)>();
  wait.call(tensor);
}

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
#if TORCH_VERSION_MINOR < 13
    auto node = std::shared_ptr<Function>(new Function(body, backward, drop), torch::autograd::deleteNode);
#else
    auto node = c10::make_intrusive<Function>(body, backward, drop);
#endif
    variable_list variables;
    for (size_t i = 0; i < count; ++i) variables.push_back(*inputs[i]);
    if (!torch::autograd::compute_requires_grad(variables)) return;
    node->set_next_edges(torch::autograd::collect_next_edges(variables));
    torch::autograd::set_history(*output, node);
  });
}

// Fills `tensor` with gaussian values of a generator of its own, seeded with `seed`.
char* cagan_normal(at::Tensor* tensor, double sigma, uint64_t seed) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(tensor->device()).clone();
    generator.set_current_seed(seed);
    tensor->normal_(0.0, sigma, generator);
  });
}

// Copies the state of the generator that all of the process draws from, on the device of `like`.
char* cagan_generator_state(const at::Tensor* like, at::Tensor** state) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(like->device());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    *state = new at::Tensor(generator.get_state());
  });
}

char* cagan_set_generator_state(const at::Tensor* like, const at::Tensor* state) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(like->device());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*state);
  });
}

char* cagan_seed_generator(const at::Tensor* like, uint64_t seed) {
  return guarded([&] {
    at::Generator generator = at::globalContext().defaultGenerator(like->device());
    const std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  });
}

// Stores the switches in a new object, for `cagan_restore_rounding`.
char* cagan_rounding(Rounding** switches) {
  return guarded([&] { *switches = new Rounding(); });
}

// Sets the switches of CUDA: TF32 on or off in products and convolutions.
char* cagan_round_cuda(bool tf32) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(tf32);
    at::globalContext().setAllowTF32CuDNN(tf32);
  });
}

// Sets the switches of the CPU's library: float32 values stay float32.
char* cagan_round_cpu() {
  return guarded([&] {
    auto& context = at::globalContext();
    for (const auto op : {at::Float32Op::MATMUL, at::Float32Op::CONV}) {
      const auto now = context.float32Precision(at::Float32Backend::MKLDNN, op);
      if (now == at::Float32Precision::BF16 || now == at::Float32Precision::TF32)
        context.setFloat32Precision(at::Float32Backend::MKLDNN, op, at::Float32Precision::IEEE);
    }
  });
}

// Restores the switches and frees the object.
char* cagan_restore_rounding(Rounding* switches) {
  const std::unique_ptr<Rounding> owned(switches);
  return guarded([&] { owned->restore(); });
}

// Lets cuDNN try its ways to compute a convolution.
char* cagan_try_convolutions(bool tries) {
  return guarded([&] { at::globalContext().setBenchmarkCuDNN(tries); });
}

char* cagan_convolutions_tried(bool* tried) {
  return guarded([&] { *tried = at::globalContext().benchmarkCuDNN(); });
}

char* cagan_tf32_allowed(bool* products, bool* convolutions) {
  return guarded([&] {
    const auto allowed = [](at::Float32Op op) {
      return at::globalContext().float32Precision(at::Float32Backend::CUDA, op) == at::Float32Precision::TF32;
    };
    *products = allowed(at::Float32Op::MATMUL);
    *convolutions = allowed(at::Float32Op::CONV);
  });
}

// Calls `run` with float32 products, whatever the switches are.
char* cagan_exact_products(void* body, void (*run)(void* body)) {
  return guarded([&] {
    const at::NoTF32Guard exact;
    run(body);
  });
}

// Calls `run` with gradients on, inference mode off and autocast off, and restores the thread's state.
char* cagan_isolated(void* body, void (*run)(void* body)) {
  return guarded([&] {
    const State state;
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
    const State inside;
    outside->restore();
    run(body);
    inside.restore();
  });
}

// Stores a b^T + bias. `bias` may be null.
char* cagan_product(const at::Tensor* a, const at::Tensor* b, const at::Tensor* bias, at::Tensor** found) {
  return guarded([&] {
    // The operator that torch.compile calls. It exists where libtorch was built with oneDNN.
    static const auto linear = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    const auto offsets = bias == nullptr ? std::optional<at::Tensor>() : *bias;
    if (!linear.has_value() || a->scalar_type() != at::kFloat) {
      *found = new at::Tensor(at::linear(*a, *b, offsets));
      return;
    }
    torch::jit::Stack stack;
    torch::jit::push(stack, *a, *b, offsets, "none", c10::List<std::optional<at::Scalar>>(), std::optional<std::string>());
    linear->callBoxed(stack);
    *found = new at::Tensor(torch::jit::pop(stack).toTensor());
  });
}

// Stores the wanted gradients of pictures and weight, and null for the others.
char* cagan_convolution_gradients(const at::Tensor* ups, const at::Tensor* xs, const at::Tensor* weight, bool transposed,
                                  const bool* wanted, at::Tensor** found) {
  return guarded([&] {
    const auto gradients = at::convolution_backward(*ups, *xs, *weight, std::nullopt, {2, 2}, {1, 1}, {1, 1}, transposed,
                                                    {0, 0}, 1, {wanted[0], wanted[1], false});
    if (wanted[0]) found[0] = new at::Tensor(std::get<0>(gradients));
    if (wanted[1]) found[1] = new at::Tensor(std::get<1>(gradients));
  });
}

// Adds `tensor` up over the processes of a group that Python made and named.
char* cagan_all_reduce(at::Tensor* tensor, const char* group) {
  return guarded([&] {
    static const auto reduce = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("_c10d_functional::all_reduce_", "")
                                   .typed<at::Tensor&(at::Tensor&, std::string, std::string)>();
    wait_for(reduce.call(*tensor, "sum", group));
  });
}

// Copies `tensor` of the process `from` to the others.
char* cagan_broadcast(at::Tensor* tensor, int64_t from, const char* group) {
  return guarded([&] {
    static const auto send = c10::Dispatcher::singleton()
                                 .findSchemaOrThrow("_c10d_functional::broadcast_", "")
                                 .typed<at::Tensor&(at::Tensor&, int64_t, std::string)>();
    wait_for(send.call(*tensor, from, group));
  });
}

// Stores a view of the tensor's memory, for its receiver's deleter or `cagan_drop_dlpack`.
char* cagan_to_dlpack(const at::Tensor* tensor, DLManagedTensor** view) {
  return guarded([&] { *view = at::toDLPack(*tensor); });
}

void cagan_drop_dlpack(DLManagedTensor* view) { view->deleter(view); }

void cagan_keep_memory() {
#ifdef __GLIBC__
  if (std::getenv("MALLOC_TRIM_THRESHOLD_") || std::getenv("MALLOC_MMAP_THRESHOLD_")) return;
  // Older versions accept at most 32 MiB.
  if (!mallopt(M_MMAP_THRESHOLD, 1 << 30)) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}
}
