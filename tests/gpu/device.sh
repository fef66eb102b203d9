#!/bin/sh
# device.sh PROGRAM CUBIN -- runs device_smoke, which a machine without a driver cannot even start.
if [ ! -e /dev/nvidiactl ]; then
    echo "skipped: this machine has no NVIDIA GPU"
    exit 77
fi
exec "$1" "$2"
