package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/financecommander/tollgate/internal/llm"
)

// relayWhole passes an unstreamed answer on: read whole, settled, then written,
// so that the record stands before the caller has the answer.
func (ex *exchange) relayWhole(a *attempt, resp *http.Response) *llm.Error {
	a.watch.answered()
	body := newBuffer(int(min(max(resp.ContentLength, 0), maxAnswer)))
	defer body.free()
	n, err := body.readFrom(io.LimitReader(watched{resp.Body, a.watch}, maxAnswer+1))
	switch {
	case err != nil:
		return ex.transportError(a, err)
	case n > maxAnswer:
		return answerTooLarge()
	}
	a.meter.Body(body.bytes())
	if err := a.meter.Reading().Err; err != nil {
		return err
	}
	if err := a.said.read(body.bytes()); err != nil {
		return err
	}
	if ex.r.Context().Err() != nil {
		return clientGone(ex.r)
	}
	ex.settle(a, nil)
	content := a.said.body()
	ex.pass(a)
	ex.returnHeader(a, resp)
	ex.w.Header()["Content-Length"] = []string{strconv.Itoa(len(content))}
	ex.committed = true
	ex.w.WriteHeader(http.StatusOK)
	_, _ = ex.w.Write(content)
	return nil
}

func answerTooLarge() *llm.Error {
	return &llm.Error{Cause: llm.CauseUpstreamInvalid, Message: "the upstream provider's answer is too large", Err: fmt.Errorf("more than %d bytes", maxAnswer)}
}

// watched tells the watchdog of every read.
type watched struct {
	io.Reader
	watch *watchdog
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.watch.touch()
	return n, err
}
