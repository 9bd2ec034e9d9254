package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// result is one request.
type result struct {
	seconds, first float64
	failure        string
}

type loader struct {
	urls    []string
	key     string
	stream  bool
	client  *http.Client
	mu      sync.Mutex
	results []result
	started time.Time
}

func (l *loader) send(target string, body []byte) {
	began := time.Now()
	one := l.request(target, body, began)
	one.seconds = time.Since(began).Seconds()
	l.mu.Lock()
	l.results = append(l.results, one)
	l.mu.Unlock()
}

func (l *loader) request(target string, body []byte, began time.Time) (one result) {
	request, err := http.NewRequest("POST", target+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return result{failure: err.Error()}
	}
	request.Header.Set("content-type", "application/json")
	if l.key != "" {
		request.Header.Set("authorization", "Bearer "+l.key)
	}
	answer, err := l.client.Do(request)
	if err != nil {
		return result{failure: "no answer"}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		io.Copy(io.Discard, answer.Body)
		return result{failure: fmt.Sprintf("status %d", answer.StatusCode)}
	}
	reader, last := bufio.NewReader(answer.Body), []byte{}
	for {
		line, err := reader.ReadBytes('\n')
		if one.first == 0 {
			one.first = time.Since(began).Seconds()
		}
		if len(bytes.TrimSpace(line)) > 0 {
			last = line
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return result{failure: "cut"}
		}
	}
	if l.stream && !bytes.HasPrefix(last, []byte("data: [DONE]")) || !l.stream && !bytes.Contains(last, []byte(`"usage"`)) {
		one.failure = "incomplete"
	}
	return one
}

func words(random *rand.Rand, size int) string {
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprintf(&text, "w%d ", random.Intn(50000))
	}
	return text.String()[:size]
}

func (l *loader) body(messages string, tokens int) []byte {
	limit := ""
	if tokens > 0 {
		limit = fmt.Sprintf(`,"max_tokens":%d`, tokens)
	}
	return fmt.Appendf(nil, `{"model":"tiny","messages":[%s],"stream":%v%s}`, messages, l.stream, limit)
}

func message(role, text string) string {
	return fmt.Sprintf(`{"role":%q,"content":%q}`, role, text)
}

// steady sends at a rate, or without a pause when the rate is 0.
func (l *loader) steady(rate float64, width, size, tokens int, length time.Duration) {
	random := rand.New(rand.NewSource(1))
	bodies := make([][]byte, 64)
	for number := range bodies {
		bodies[number] = l.body(message("user", words(random, size)), tokens)
	}
	end := l.started.Add(length)
	var group sync.WaitGroup
	if rate > 0 {
		between := time.Duration(float64(time.Second) / rate)
		for number, next := 0, l.started; next.Before(end); number, next = number+1, next.Add(between) {
			time.Sleep(time.Until(next))
			group.Go(func() { l.send(l.urls[number%len(l.urls)], bodies[number%len(bodies)]) })
		}
	} else {
		for worker := range width {
			group.Go(func() {
				for number := worker; time.Now().Before(end); number += width {
					l.send(l.urls[number%len(l.urls)], bodies[number%len(bodies)])
				}
			})
		}
	}
	group.Wait()
}

// conversations lets each user have a conversation that grows with each turn, on one of a few system prompts.
func (l *loader) conversations(users, turns, prompts, tokens int, think time.Duration) {
	random := rand.New(rand.NewSource(1))
	systems := make([]string, prompts)
	for number := range systems {
		systems[number] = words(random, 1500)
	}
	var group sync.WaitGroup
	for user := range users {
		group.Go(func() {
			own := rand.New(rand.NewSource(int64(1000 + user)))
			time.Sleep(time.Duration(own.Int63n(int64(2 * time.Second))))
			history := message("system", systems[own.Intn(prompts)])
			for range turns {
				history += "," + message("user", words(own, 200+own.Intn(600)))
				l.send(l.urls[own.Intn(len(l.urls))], l.body(history, tokens))
				history += "," + message("assistant", words(own, 300+own.Intn(500)))
				time.Sleep(time.Duration(float64(think) * (0.5 + own.Float64())))
			}
		})
	}
	group.Wait()
}

func quantile(sorted []float64, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(float64(len(sorted)-1)*part)]
}

func (l *loader) report() {
	failures := map[string]int{}
	var seconds, first []float64
	for _, one := range l.results {
		if one.failure != "" {
			failures[one.failure]++
			continue
		}
		seconds, first = append(seconds, one.seconds), append(first, one.first)
	}
	slices.Sort(seconds)
	slices.Sort(first)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"requests": len(l.results), "served": len(seconds), "failures": failures,
		"seconds": time.Since(l.started).Seconds(),
		"p50":     quantile(seconds, 0.5), "p99": quantile(seconds, 0.99),
		"first p50": quantile(first, 0.5), "first p99": quantile(first, 0.99),
	})
}

func load(arguments []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	urls := flags.String("url", "", "base URLs, separated by commas; each request takes one of them")
	key := flags.String("key", "", "API key")
	rate := flags.Float64("rate", 0, "requests a second; 0 sends without a pause")
	width := flags.Int("width", 16, "requests at once without a rate")
	size := flags.Int("size", 1000, "bytes of a prompt")
	tokens := flags.Int("tokens", 0, "max_tokens")
	length := flags.Duration("seconds", 5*time.Second, "length")
	stream := flags.Bool("stream", false, "streamed answers")
	users := flags.Int("users", 0, "conversations instead: users")
	turns := flags.Int("turns", 8, "requests of a conversation")
	prompts := flags.Int("prompts", 4, "system prompts")
	think := flags.Duration("think", 20*time.Millisecond, "pause of a user")
	flags.Parse(arguments)
	l := &loader{urls: strings.Split(*urls, ","), key: *key, stream: *stream, started: time.Now()}
	for _, target := range l.urls {
		if parsed, err := url.Parse(target); err != nil || parsed.Hostname() != "127.0.0.1" {
			fmt.Fprintln(os.Stderr, "the load is for 127.0.0.1 alone")
			os.Exit(2)
		}
	}
	l.client = &http.Client{Timeout: 300 * time.Second, Transport: &http.Transport{
		MaxIdleConnsPerHost: 4096, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}}
	if *users > 0 {
		l.conversations(*users, *turns, *prompts, *tokens, *think)
	} else {
		l.steady(*rate, *width, *size, *tokens, *length)
	}
	l.report()
}
