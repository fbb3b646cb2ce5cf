#!/bin/sh
# The whole path on two cores in a few minutes: data, net, training, plot, and one round of
# growth with its report. Run by `make demo`.
# CIFAR10: the official distribution (archive or folder), or empty; SEED: of the whole run.
set -eu
out=demo
mkdir -p "$out"

# Real images if there are any; status 3 says that there are none and no network either.
data=$out/cifar10
status=0
python -m data_prep cifar10 ${CIFAR10:+--source "$CIFAR10"} --out "$data" || status=$?
if [ "$status" -eq 3 ] && [ -z "$CIFAR10" ]; then
    data=$out/synthetic
    echo "demo: no CIFAR-10 to be had, so this trains on SYNTHETIC images"
    python -m data_prep synthetic --out "$data"
elif [ "$status" -ne 0 ]; then
    exit "$status"
fi

# All-CNN-C at a quarter of its width; the run is too short for dropout.
python -m netgen baseline --width 0.25 --batch-size 64 --data "$data" \
    --input-dropout 0 --dropout 0 -o "$out/net.prototxt"
python -m netgen describe "$out/net.prototxt"
python -m netgen solver baseline --net "$out/net.prototxt" --max-iter 2400 --batch-size 64 \
    --base-lr 0.03 --lr-policy poly --display 50 --test-interval 800 --snapshot 2400 \
    --random-seed "$SEED" --prefix "$out/snapshot" -o "$out/solver.prototxt"

# glog's file is the demo's log; the screen shows its gist.
caffe train -solver "$out/solver.prototxt" > "$out/demo.log" 2>&1 &
trap 'kill $! 2>/dev/null || true' EXIT
tail -f --pid=$! "$out/demo.log" | python -m runner.log || true
wait $!
trap - EXIT
python tools/plot_loss.py --no_refresh -o "$out/demo.png" "$out/demo.log"
python tools/best_accuracy.py "$out/demo.log"

# One round of growth at a tiny scale: train, measure, split, go on, and the report of it.
OMP_NUM_THREADS=1 python -m study --scale tiny --arms none --data "$data" \
    --out "$out/study"
