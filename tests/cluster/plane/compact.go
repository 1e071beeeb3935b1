package plane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// compactRevisionKey is where API servers tell each other how much they have had etcd forget.
const compactRevisionKey = "compact_rev_key"

// Compact has etcd forget how everything came to be as it is, and tells the API server, as its own compaction does every
// few minutes: what goes on from before, a list's next page, is too old then. The API server may still know such pages
// itself: it looks every 15 s whether it has to forget them too.
func (p *Plane) Compact(ctx context.Context) error {
	key := []byte(compactRevisionKey)
	var now struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := p.askEtcd(ctx, "range", map[string]any{"key": key}, &now); err != nil {
		return err
	}
	revision := now.Header.Revision
	var nothing struct{}
	if err := p.askEtcd(ctx, "compaction", map[string]any{"revision": revision, "physical": true}, &nothing); err != nil {
		return err
	}
	return p.askEtcd(ctx, "put", map[string]any{"key": key, "value": []byte(revision)}, &nothing)
}

// askEtcd makes one call of etcd's KV service, in JSON.
func (p *Plane) askEtcd(ctx context.Context, call string, question, answer any) error {
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.etcd+"/v3/kv/"+call, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd answers %s to %s: %s", response.Status, call, said)
	}
	return json.Unmarshal(said, answer)
}
