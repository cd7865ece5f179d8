"""What tests have on JAX: compiles that are soon done, of one thread each."""

import os

import jax

FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_cpu_multi_thread_eigen=false",
    "--xla_llvm_disable_expensive_passes=true",
]
# XLA stops at a flag that it doesn't know, as later ones may not know this.
if jax.__version_info__ < (0, 11):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join(FLAGS)
