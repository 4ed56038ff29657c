# Runs inside a container of the node image: imports /images.tar into containerd's content store. Layers are not unpacked:
# the node does that in its own snapshotter.
containerd > /tmp/containerd.log 2>&1 &
containerd=$!
for _ in $(seq 60); do ctr version > /dev/null 2>&1 && break; sleep 1; done
ctr --namespace k8s.io images import --no-unpack --all-platforms --digests /images.tar
kill $containerd
wait $containerd || true
rm -rf /images.tar /tmp/containerd.log /var/lib/containerd/io.containerd.snapshotter.v1.*
