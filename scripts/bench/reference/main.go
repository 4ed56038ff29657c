// The demo's /binary and its server-sent events in a few lines of Go's net/http: the same bytes in the same chunks.
package main

import (
	"bytes"
	"crypto/sha3"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

const (
	period = 65537
	filler = "abcdefghijklmnopqrstuvwxyzabcdefg"
)

// As in app/download/binary.py.
var content = bytes.Repeat(sha3.SumSHAKE128([]byte("django-streaming-kubernetes"), period), 18)

func binary(w http.ResponseWriter, r *http.Request) {
	size, _ := strconv.Atoi(r.FormValue("size"))
	chunk, _ := strconv.Atoi(r.FormValue("chunk_bytes"))
	if size < 1 || chunk < 1 || chunk > 1<<20 {
		http.Error(w, "size and chunk_bytes must be numbers of bytes, chunk_bytes at most 1 MiB", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	flusher := w.(http.Flusher)
	for sent := 0; sent < size; sent += chunk {
		at := sent % period
		if _, err := w.Write(content[at : at+min(chunk, size-sent)]); err != nil {
			return
		}
		// What is larger than net/http's buffer goes out at once; what is smaller waits there.
		if chunk < 4096 {
			flusher.Flush()
		}
	}
}

// Events as /measure?format=sse sends them: a number, the time of production, and filler.
func measure(w http.ResponseWriter, r *http.Request) {
	rows, _ := strconv.Atoi(r.FormValue("rows"))
	delay, _ := strconv.Atoi(r.FormValue("delay_ms"))
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := w.(http.Flusher)
	fmt.Fprint(w, "retry: 1000\n\n")
	for row := 1; row <= rows; row++ {
		if row > 1 {
			select {
			case <-time.After(time.Duration(delay) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		now := time.Now()
		fmt.Fprintf(w, "id: %d\ndata: %08d %010d.%09d %s\n\n", row, row, now.Unix(), now.Nanosecond(), filler)
		flusher.Flush()
	}
}

func main() {
	http.HandleFunc("/binary", binary)
	http.HandleFunc("/measure", measure)
	for _, probe := range []string{"/livez", "/readyz"} {
		http.HandleFunc(probe, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("ok\n")) })
	}
	log.Fatal(http.ListenAndServe(os.Args[1], nil))
}
