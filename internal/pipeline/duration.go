package pipeline

import (
	"fmt"
	"time"
)

// Duration is a time span that is written as "90s" or "5m".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf(`%q is no time span such as "90s" or "5m"`, text)
	}
	*d = Duration(parsed)
	return nil
}
