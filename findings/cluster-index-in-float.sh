#!/usr/bin/env bash
# %clusterid.x is computed in float, and wrong from block 2^24 on.
#
# PTX has the index of a block's cluster as a special register. ptxas 13.0.88 has no such register to read on sm_90: it
# multiplies the block's index by the reciprocal of the cluster's size, as floats, and truncates. A float holds 24
# bits, so from block 16777216 on odd indices become even ones. Clusters of one block, and kernels that are launched
# without clusters, take the same code. Grids may have 2^31 - 1 blocks, and nothing warns.
#
# Seen without a GPU: in the machine code of a kernel that stores %clusterid.x, and by the same arithmetic in Python.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install nvidia-cuda-nvcc==13.0.88 nvidia-cuda-nvdisasm==13.2.78
tools=$(dirname "$(find "$work/venv" -name ptxas -type f | head -n 1)")

cat >"$work/kernel.ptx" <<'PTX'
.version 9.0
.target sm_90
.address_size 64
.visible .entry kernel(.param .u64 out)
{
  .reg .b32 %r<2>;
  .reg .b64 %d<3>;
  ld.param.u64 %d1, [out];
  cvta.to.global.u64 %d2, %d1;
  mov.u32 %r1, %clusterid.x;
  st.global.u32 [%d2], %r1;
  ret;
}
PTX
"$tools/ptxas" -arch=sm_90 "$work/kernel.ptx" -o "$work/kernel.cubin"
code=$("$tools/nvdisasm" -c "$work/kernel.cubin" | grep -oE 'S2UR .*SR_CTAID.X|I2FP.F32.U32|FMUL|F2I.U32.TRUNC[.A-Z]*' | sed 's/ .*//')
echo "$code"
wanted=$'S2UR\nI2FP.F32.U32\nFMUL\nF2I.U32.TRUNC.NTZ'
if [ "$code" != "$wanted" ]; then
  echo "changed: the index is computed in another way"
  exit 1
fi

python3 - <<'PY'
import struct


def to_float(value):
    return struct.unpack("f", struct.pack("f", value))[0]


def cluster_index(block, size):
    return int(to_float(to_float(block) * to_float(1 / size)))


first = next(block for block in range(2**24 - 4, 2**24 + 4) if cluster_index(block, 1) != block)
assert first == 2**24 + 1, first
wrong = sum(cluster_index(block, 2) != block // 2 for block in range(2**26, 2**26 + 4096))
assert wrong > 2000, wrong
print(f"clusters of 1: block {first} has index {cluster_index(first, 1)}")
print(f"clusters of 2: {wrong} of 4096 blocks from 2^26 on have another's index")
PY
