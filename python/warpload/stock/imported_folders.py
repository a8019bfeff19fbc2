"""Which folders the start of a pipeline imports from, in that order. One table; ``imports_ahead`` reads them ahead.

A folder stands for the compiled code of the modules in it, of which at least half is needed: by torch 2.13,
diffusers 0.42, transformers 5.23 and what these import (``benchmarks/imported_folders.py`` makes these entries). A
version that has other folders costs time, and nothing else. Entries with a star are by hand, and stand for files: those
that end with what is behind it.

    torch/lib/*libtorch_cpu.so      what ``import torch`` maps; of CUDA's libraries, which are large, little is needed
    *.dist-info/*                   what ``importlib.metadata`` asks for on behalf of diffusers and transformers
    transformers/models/*/*.py      what transformers scans for the names that its models have
"""

_TABLE = """
torch/lib/*libtorch_cpu.so torch/lib/*libtorch_python.so torch/lib/*libc10.so huggingface_hub diffusers
huggingface_hub/utils tqdm torch torch/_strobelight torch/_vendor torch/_vendor/packaging numpy numpy/_core/*.so
numpy/_core numpy/_typing numpy/lib numpy/linalg numpy/matrixlib torch/amp torch/cuda torch/cuda/amp torch/nn
torch/_prims_common torch/utils/backcompat torch/utils torch/distributed/_pycute torch/distributed torch/monitor
torch/utils/data/datapipes torch/utils/data/datapipes/utils torch/utils/data torch/utils/data/datapipes/dataframe
torch/utils/data/_utils torch/utils/data/datapipes/iter torch/utils/data/datapipes/map torch/nn/modules
torch/distributed/autograd torch/futures torch/distributed/rpc torch/autograd torch/_library torch/testing
torch/package torch/package/analyze torch/_awaits torch/nn/utils torch/backends/cpu torch/backends/cuda
torch/backends/cudnn torch/backends/cusparselt torch/backends/kleidiai torch/backends/mha torch/backends/miopen
torch/backends/mkl torch/backends/mkldnn torch/backends/mps torch/backends/nnpack torch/backends/openmp
torch/backends/opt_einsum torch/backends/quantized torch/backends torch/nn/attention torch/nn/parallel
torch/distributed/algorithms torch/accelerator torch/cpu/amp torch/cpu torch/distributions torch/jit torch/fft
torch/linalg torch/mps torch/mtia torch/multiprocessing torch/fx torch/fx/experimental
torch/fx/experimental/unification/multipledispatch torch/fx/experimental/unification torch/_logging torch/nested
torch/optim torch/profiler torch/special torch/xpu torch/signal/windows torch/signal torch/ao torch/ao/nn
torch/ao/nn/intrinsic/modules torch/ao/nn/intrinsic torch/nn/intrinsic/modules torch/ao/nn/qat/modules torch/ao/nn/qat
torch/ao/nn/intrinsic/qat/modules torch/ao/nn/intrinsic/qat torch/nn/intrinsic/qat/modules torch/nn/intrinsic/qat
torch/ao/nn/quantizable/modules torch/ao/nn/quantizable torch/ao/nn/quantized/modules torch/ao/nn/quantized
torch/ao/nn/intrinsic/quantized/modules torch/ao/nn/intrinsic/quantized torch/ao/nn/quantized/dynamic/modules
torch/ao/nn/quantized/dynamic torch/ao/nn/intrinsic/quantized/dynamic/modules torch/ao/nn/intrinsic/quantized/dynamic
torch/nn/intrinsic/quantized/dynamic/modules torch/nn/intrinsic/quantized/dynamic torch/nn/intrinsic/quantized/modules
torch/nn/intrinsic/quantized torch/nn/intrinsic torch/ao/nn/qat/dynamic/modules torch/ao/nn/qat/dynamic
torch/nn/qat/dynamic/modules torch/nn/qat/dynamic torch/nn/qat/modules torch/nn/qat torch/nn/quantizable
torch/nn/quantized/dynamic torch/nn/quantized torch/ao/quantization torch/ao/nn/quantized/reference/modules
torch/ao/nn/quantized/reference torch/ao/nn/sparse/quantized torch/ao/nn/sparse/quantized/dynamic torch/ao/nn/sparse
torch/quantization torch/masked torch/masked/maskedtensor torch/_dispatch torch/_subclasses torch/_custom_op
torch/fx/passes torch/fx/passes/utils torch/export torch/_higher_order_ops torch/utils/_debug_mode torch/_prims
torch/_decomp torch/_refs torch/_refs/linalg torch/_refs/nn torch/_refs/nn/functional torch/_refs/special
torch/compiler torch/_native torch/_native/ops/norm torch/_native/ops httpx2 httpx2/_transports yaml/*.so yaml
filelock filelock/_filesystem filelock/_core filelock/_native filelock/_identity filelock/_soft/_exclusive httpcore2
httpcore2/_backends h11 httpcore2/_sync httpcore2/_async accelerate/utils accelerate accelerate/commands/config
accelerate/commands/menu diffusers/models huggingface_hub/serialization diffusers/quantizers
diffusers/quantizers/autoround diffusers/quantizers/bfl diffusers/quantizers/bitsandbytes
diffusers/quantizers/modelopt diffusers/quantizers/quanto diffusers/quantizers/sdnq diffusers/quantizers/torchao
transformers *.dist-info/* transformers/models/*/*.py safetensors/*.so safetensors regex/*.so regex transformers/utils
jinja2 markupsafe diffusers/models/unets diffusers/hooks peft/tuners transformers/distributed transformers/generation
transformers/integrations/heterogeneity torch/distributed/_local_tensor mpmath mpmath/libmp mpmath/functions
mpmath/calculus mpmath/matrices sympy sympy/utilities sympy/external sympy/core sympy/multipledispatch sympy/logic
sympy/assumptions sympy/assumptions/relation sympy/polys sympy/polys/domains sympy/ntheory sympy/printing
sympy/printing/pretty sympy/functions/combinatorial sympy/functions/elementary sympy/functions/special sympy/sets
sympy/functions sympy/utilities/mathml sympy/polys/numberfields sympy/polys/matrices sympy/matrices sympy/tensor/array
sympy/polys/agca sympy/strategies sympy/strategies/branch sympy/matrices/expressions sympy/series sympy/calculus
sympy/discrete sympy/concrete sympy/simplify sympy/solvers sympy/solvers/diophantine sympy/solvers/ode sympy/geometry
sympy/algebras sympy/plotting/backends sympy/plotting sympy/plotting/intervalmath
sympy/plotting/backends/matplotlibbackend sympy/plotting/backends/textbackend sympy/interactive torch/utils/_sympy
torch/distributed/tensor torch/distributed/tensor/_ops torch/distributed/_composable
torch/distributed/algorithms/_checkpoint torch/distributed/fsdp torch/distributed/_shard
torch/distributed/_shard/sharded_tensor torch/distributed/_shard/sharding_spec torch/distributed/nn
torch/distributed/nn/api torch/distributed/nn/jit torch/distributed/nn/jit/templates
torch/distributed/_shard/sharded_tensor/_ops torch/distributed/_shard/sharding_spec/chunk_sharding_spec_ops
torch/distributed/_shard/sharding_plan torch/distributed/fsdp/_fully_shard torch/distributed/_symmetric_memory
torch/distributed/algorithms/_comm_hooks torch/distributed/tensor/parallel torch/distributed/_composable/fsdp
torch/distributed/checkpoint torch/distributed/elastic torch/distributed/elastic/agent torch/distributed/elastic/utils
torch/distributed/elastic/rendezvous torch/distributed/elastic/events torch/distributed/elastic/metrics
torch/distributed/elastic/multiprocessing/errors torch/distributed/elastic/multiprocessing torch/numa
torch/distributed/elastic/multiprocessing/subprocess_handler torch/distributed/elastic/agent/server
torch/distributed/elastic/timer psutil transformers/generation/continuous_batching
transformers/generation/continuous_batching/cache_allocators transformers/models/auto transformers/quantizers
transformers/integrations/gguf transformers/loss diffusers/loaders diffusers/models/transformers
transformers/utils/chat_parsing tokenizers/decoders tokenizers/models tokenizers/normalizers tokenizers/pre_tokenizers
tokenizers/processors tokenizers/implementations tokenizers/*.so tokenizers diffusers/models/autoencoders
transformers/models/dinov2_with_registers tokenizers/trainers sentencepiece/*.so sentencepiece
transformers/models/siglip transformers/models/vit_mae diffusers/pipelines transformers/models/clip onnxruntime
diffusers/guiders transformers/models/t5 transformers/models/umt5
"""

FOLDERS = tuple(_TABLE.split())
