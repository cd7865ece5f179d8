"""What tests have on JAX: compiles that are soon done, of one thread each."""

import os

os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_multi_thread_eigen=false "
    "--xla_llvm_disable_expensive_passes=true"
)
