package main

import (
	"container/list"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxBody    = 64 << 20
	blockBytes = 64 // 16 tokens of 4 bytes, vLLM's default block
)

// replica answers as one vLLM does: it has a prefix cache of blocks, and a prefill takes time for what is not in it.
type replica struct {
	tokens  int
	step    time.Duration
	prefill time.Duration // for one block

	mu     sync.Mutex
	blocks map[uint64]*list.Element
	order  *list.List // the oldest block at the front
	most   int

	requests, active, hits, queries, aborted atomic.Int64
}

type chatRequest struct {
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream    bool `json:"stream"`
	MaxTokens int  `json:"max_tokens"`
}

// lookup returns how many blocks of a prompt are cached from its start, and how many it has; then all are cached.
func (r *replica) lookup(text string) (hits, all int) {
	hash := fnv.New64a()
	r.mu.Lock()
	defer r.mu.Unlock()
	leading := true
	for start := 0; start+blockBytes <= len(text); start += blockBytes {
		io.WriteString(hash, text[start:start+blockBytes])
		all++
		key := hash.Sum64()
		if element, ok := r.blocks[key]; ok {
			r.order.MoveToBack(element)
			if leading {
				hits++
			}
			continue
		}
		leading = false
		r.blocks[key] = r.order.PushBack(key)
		if r.order.Len() > r.most {
			oldest := r.order.Front()
			delete(r.blocks, oldest.Value.(uint64))
			r.order.Remove(oldest)
		}
	}
	return hits, all
}

func (r *replica) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(io.LimitReader(request.Body, maxBody))
	if err != nil {
		r.aborted.Add(1)
		return
	}
	r.requests.Add(1)
	r.active.Add(1)
	defer r.active.Add(-1)
	var chat chatRequest
	if err := json.Unmarshal(body, &chat); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	hits, all := 0, 0
	if r.most > 0 {
		var text strings.Builder
		for _, message := range chat.Messages {
			text.WriteString(message.Role)
			text.Write(message.Content)
		}
		hits, all = r.lookup(text.String())
		r.hits.Add(int64(hits))
		r.queries.Add(int64(all))
	}
	tokens := r.tokens
	if chat.MaxTokens > 0 {
		tokens = chat.MaxTokens
	}
	if !pause(request.Context(), time.Duration(all-hits)*r.prefill) {
		r.aborted.Add(1)
		return
	}
	usage := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, len(body)/4, tokens, len(body)/4+tokens)
	if chat.Stream {
		r.stream(w, request.Context(), tokens, usage)
		return
	}
	w.Header().Set("content-type", "application/json")
	fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"tiny","choices":[{"index":0,"message":`+
		`{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":%s}`, strings.Repeat("word ", tokens), usage)
}

func (r *replica) stream(w http.ResponseWriter, ctx context.Context, tokens int, usage string) {
	w.Header().Set("content-type", "text/event-stream; charset=utf-8")
	flusher := w.(http.Flusher)
	for number := range tokens {
		if number > 0 && !pause(ctx, r.step) {
			r.aborted.Add(1)
			return
		}
		fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[`+
			`{"index":0,"delta":{"content":"word%d "},"finish_reason":null}]}`+"\n\n", number)
		flusher.Flush()
	}
	fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[],"usage":%s}`+"\n\n", usage)
	io.WriteString(w, "data: [DONE]\n\n")
}

func pause(ctx context.Context, length time.Duration) bool {
	if length <= 0 {
		return true
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func mock(arguments []string) {
	flags := flag.NewFlagSet("mock", flag.ExitOnError)
	ports := flags.String("ports", "9101", "ports of the replicas, separated by commas")
	control := flags.Int("control", 9100, "port of /figures")
	tokens := flags.Int("tokens", 16, "tokens of an answer")
	step := flags.Duration("step", 0, "time of one token of a streamed answer; others come at once")
	prefill := flags.Duration("prefill", 0, "time of one block that is not cached")
	most := flags.Int("blocks", 0, "blocks in the prefix cache of one replica; 0 looks up nothing")
	flags.Parse(arguments)
	var replicas []*replica
	for _, port := range strings.Split(*ports, ",") {
		one := &replica{tokens: *tokens, step: *step, prefill: *prefill, most: *most,
			blocks: map[uint64]*list.Element{}, order: list.New()}
		replicas = append(replicas, one)
		go func() { log.Fatal(http.ListenAndServe("127.0.0.1:"+port, one)) }()
	}
	http.HandleFunc("/figures", func(w http.ResponseWriter, _ *http.Request) {
		found := []map[string]int64{}
		for _, one := range replicas {
			found = append(found, map[string]int64{"requests": one.requests.Load(), "active": one.active.Load(),
				"hits": one.hits.Load(), "queries": one.queries.Load(), "aborted": one.aborted.Load()})
		}
		json.NewEncoder(w).Encode(found)
	})
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *control), nil))
}
