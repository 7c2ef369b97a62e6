#!/bin/sh
# patches.sh -- how well a flow models image patches: patches.sh PULLBACK TRAIN.npz VALID.npz FOLDER [OPTION of fit]...
#
# TRAIN and VALID hold X, grey patches of 8 x 8 bytes (BSDS300's). As Papamakarios et al. 2017 prepare them: noise of one
# grey level, pixels from 0 to 1, the mean of the patch taken away, the last pixel left out (63 columns). 2 % of the training
# patches choose the parameters; what is printed last is the mean log-density, in nats, of the patches of VALID.
set -eu
pullback=$1 train=$2 valid=$3 folder=$4
shift 4
mkdir -p "$folder"
python3 - "$train" "$valid" "$folder" <<'PYTHON'
import sys
import numpy as np
noise = np.random.default_rng(2026)
for name, file in (("train", sys.argv[1]), ("valid", sys.argv[2])):
    bytes_ = np.load(file)["X"]
    x = (bytes_ + noise.random(bytes_.shape)) / 256
    x -= x.mean(axis=1, keepdims=True)
    np.save(f"{sys.argv[3]}/{name}.npy", x[:, :63].astype(np.float32))
PYTHON
"$pullback" fit "$folder/train.npy" --model maf:layers=5,hidden=512x2 --steps 17000 --batch 256 --lr 2e-3 --anneal \
    --patience 0 --validation 0.02 --test 0 --out "$folder/patches.safetensors" --log "$folder/patches.jsonl" "$@"
"$pullback" score "$folder/patches.safetensors" "$folder/valid.npy" --summary
