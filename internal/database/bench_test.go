package database

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/financecommander/tollgate/internal/testenv"
)

// BenchmarkInsertUsage reports the processor time of this process per row, which
// for PostgreSQL is what the gateway spends and for SQLite is all there is.
func BenchmarkInsertUsage(b *testing.B) {
	const batch = 500
	for name, url := range map[string]func() string{
		"postgres": func() string { return testenv.Postgres(b) },
		"sqlite":   func() string { return "sqlite:///" + filepath.Join(b.TempDir(), "bench.db") },
	} {
		b.Run(name, func(b *testing.B) {
			db := migrated(b, url())
			n := 0
			var used time.Duration
			for b.Loop() {
				records := []byte("[")
				for range batch {
					n++
					records = append(records, benchRecord(n)...)
					records = append(records, ',')
				}
				records[len(records)-1] = ']'
				before := cpuTime(b)
				inserted, err := db.InsertUsage(b.Context(), records)
				used += cpuTime(b) - before
				require.NoError(b, err)
				require.EqualValues(b, batch, inserted)
			}
			b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/row")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/row")
		})
	}
}

func benchRecord(n int) string {
	return usageRecord(n, time.Now().Add(time.Duration(n)*time.Microsecond), fmt.Sprintf(`,"request_id":"req_%032d","user_hash":"%064d","user_email_hash":"%064d",`+
		`"specialist_id":"financial-analyst","specialist_name":"Financial Analyst","provider":"openai","model":"gpt-4o","response_model":"gpt-4o-2024-08-06",`+
		`"dialect":"openai.chat","stream":true,"input_tokens":1250,"output_tokens":431,"cached_tokens":1024,"usage_source":"provider",`+
		`"cost_picodollars":7435000000,"priced":true,"price_version":"2026-11-20","latency_ms":2210,"ttft_ms":340,"attempt":1,`+
		`"upstream_status":200,"status":200,"success":true,"finish_reason":"stop"`, n, n%97, n%97))
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
