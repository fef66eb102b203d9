#!/bin/sh
# Makes the cubins beside this file again; needs nvcc of CUDA 13.0.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/evo-golden-cubin # -lineinfo writes the folder's name into the file
mkdir -p $work
cp "$here"/*.cu $work
cd $work
for arch in 80 90a 120; do
    nvcc -std=c++17 -cubin -arch=sm_$arch -o pair_sm_$arch.cubin pair.cu
done
nvcc -std=c++17 -cubin -arch=sm_90a -lineinfo -o pair_lineinfo_sm_90a.cubin pair.cu
nvcc -std=c++17 -cubin -arch=sm_90a -o state_sm_90a.cubin state.cu
nvcc -std=c++17 -cubin -arch=sm_90a -o runtime_sm_90a.cubin runtime.cu
cp ./*.cubin "$here"
rm -r $work
