package pricing

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fileFormat is a price file, as the package comment describes it.
type fileFormat struct {
	AsOf   string        `json:"as_of"`
	Models []modelFormat `json:"models"`
}

type modelFormat struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Kind     string `json:"kind"`

	Prices    priceSet              `json:"prices"`
	Tiers     []tierFormat          `json:"tiers"`
	Modes     map[string]listFormat `json:"modes"`
	TimeOfDay []hoursFormat         `json:"time_of_day"`
	From      []fromFormat          `json:"from"`

	PerCallUSD map[string]Money `json:"per_call_usd"`
	Regional   struct {
		Regions    []string       `json:"regions"`
		Multiplier jsontext.Value `json:"multiplier"`
	} `json:"regional"`

	ContextWindow int64 `json:"context_window"`
	MaxOutput     int64 `json:"max_output"`
	Modalities    struct {
		Input  []string `json:"input"`
		Output []string `json:"output"`
	} `json:"modalities"`
	Deprecated bool `json:"deprecated"`
}

type listFormat struct {
	Prices priceSet     `json:"prices"`
	Tiers  []tierFormat `json:"tiers"`
}

type tierFormat struct {
	Above  int64    `json:"above_input_tokens"`
	Prices priceSet `json:"prices"`
}

type hoursFormat struct {
	Start  string       `json:"start"`
	End    string       `json:"end"`
	Prices priceSet     `json:"prices"`
	Tiers  []tierFormat `json:"tiers"`
}

type fromFormat struct {
	Date      string                `json:"date"`
	Prices    priceSet              `json:"prices"`
	Tiers     []tierFormat          `json:"tiers"`
	Modes     map[string]listFormat `json:"modes"`
	TimeOfDay []hoursFormat         `json:"time_of_day"`
}

// model checks what was read and makes a Model of it.
func (f *modelFormat) model() (*Model, error) {
	m := &Model{
		Provider: f.Provider, Name: f.Model, Kind: f.Kind,
		ContextWindow: f.ContextWindow, MaxOutput: f.MaxOutput,
		InputModalities: f.Modalities.Input, OutputModalities: f.Modalities.Output,
		Deprecated: f.Deprecated, PerCall: f.PerCallUSD,
	}
	if f.Provider == "" || f.Model == "" {
		return nil, errors.New("provider and model must be given")
	}
	if f.ContextWindow < 0 || f.MaxOutput < 0 {
		return nil, errors.New("context_window and max_output may not be negative")
	}
	for tool, price := range f.PerCallUSD {
		if price < 0 {
			return nil, fmt.Errorf("per_call_usd %q: negative", tool)
		}
	}
	periods := append([]fromFormat{{
		Prices: f.Prices, Tiers: f.Tiers, Modes: f.Modes, TimeOfDay: f.TimeOfDay,
	}}, f.From...)
	for i := range periods {
		p, err := periods[i].period(i > 0)
		if err != nil {
			return nil, err
		}
		if i > 1 && !p.from.After(m.periods[i-1].from) {
			return nil, errors.New("from: dates must ascend")
		}
		m.periods = append(m.periods, p)
	}
	return m, f.readRegional(&m.region)
}

func (f *modelFormat) readRegional(r *regional) error {
	if len(f.Regional.Regions) == 0 {
		return nil
	}
	factor, exact, err := parseDecimal(string(f.Regional.Multiplier), 6)
	if err != nil || !exact || factor <= 0 {
		return errors.New("regional: multiplier must be a positive number with at most six decimals")
	}
	*r = regional{regions: f.Regional.Regions, millionths: uint64(factor)}
	return nil
}

func (f *fromFormat) period(dated bool) (p period, err error) {
	if dated {
		if p.from, err = time.Parse(time.DateOnly, f.Date); err != nil {
			return p, fmt.Errorf("from: date %q is not YYYY-MM-DD", f.Date)
		}
	}
	base := listFormat{Prices: f.Prices, Tiers: f.Tiers}
	if p.standard, err = base.list(standard, nil); err != nil {
		return p, err
	}
	for _, h := range f.TimeOfDay {
		read, err := h.hours()
		if err != nil {
			return p, fmt.Errorf("time_of_day: %w", err)
		}
		p.hours = append(p.hours, read)
	}
	for name, mode := range f.Modes {
		list, err := mode.list(name, &base)
		if err != nil {
			return p, fmt.Errorf("mode %q: %w", name, err)
		}
		if p.modes == nil {
			p.modes = make(map[string]priceList, len(f.Modes))
		}
		p.modes[name] = list
	}
	return p, nil
}

func (f *hoursFormat) hours() (h hours, err error) {
	if h.start, err = minuteOfDay(f.Start); err != nil {
		return h, err
	}
	if h.end, err = minuteOfDay(f.End); err != nil {
		return h, err
	}
	list := listFormat{Prices: f.Prices, Tiers: f.Tiers}
	h.list, err = list.list(f.Start+"-"+f.End, nil)
	return h, err
}

func minuteOfDay(clock string) (int, error) {
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return 0, fmt.Errorf("%q is not HH:MM", clock)
	}
	return t.Hour()*60 + t.Minute(), nil
}

// list resolves the prices of a mode; base is the standard list they stand
// beside, nil if this is one.
func (f *listFormat) list(name string, base *listFormat) (priceList, error) {
	if len(f.Prices) == 0 {
		return nil, errors.New("prices must be given")
	}
	var told priceSet
	if base != nil {
		told = base.Prices
	}
	list := priceList{{label: name, rates: f.Prices.resolve(told)}}
	for _, tier := range f.Tiers {
		if tier.Above <= list[len(list)-1].above {
			return nil, errors.New("tiers: above_input_tokens must be positive and ascend")
		}
		if len(tier.Prices) == 0 {
			return nil, errors.New("tiers: prices must be given")
		}
		list = append(list, newBand(name, tier.Above, tier.Prices.resolve(told)))
	}
	if base != nil && len(f.Tiers) == 0 && len(base.Tiers) > 0 {
		list = append(list, newBand(name, base.Tiers[0].Above, priceSet{}.resolve(nil)))
	}
	return list, nil
}

func newBand(name string, above int64, r rates) band {
	return band{above: above, label: name + ">" + strconv.FormatInt(above, 10), rates: r}
}

// priceSet holds the prices a list states, in picodollars per token.
type priceSet map[bucket]Money

// UnmarshalJSON reads prices in USD per million tokens, exactly.
func (s *priceSet) UnmarshalJSON(text []byte) error {
	var named map[string]jsontext.Value
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	*s = make(priceSet, len(named))
	for name, number := range named {
		b, ok := bucketByName[name]
		if !ok {
			return fmt.Errorf("unknown price %q", name)
		}
		price, err := parsePerMillion(string(number))
		if err != nil {
			return fmt.Errorf("price %q: %w", name, err)
		}
		(*s)[b] = price
	}
	return nil
}

// parsePerMillion reads a price in USD per million tokens as picodollars per
// token, of which a dollar per million makes a million. All published prices
// are whole in that unit; one that is finer is an error, not a rounded price.
func parsePerMillion(number string) (Money, error) {
	price, exact, err := parseDecimal(number, 6)
	switch {
	case err != nil:
		return 0, fmt.Errorf("price per million tokens: %w", err)
	case !exact:
		return 0, errors.New("price per million tokens: finer than a millionth of a dollar")
	case price < 0:
		return 0, errors.New("price per million tokens: negative")
	}
	return Money(price), nil
}

// resolve gives each bucket its own price or the first stated one down its
// chain. told is what the standard list states: a price that stands there, but
// not here, is unknown here.
func (s priceSet) resolve(told priceSet) rates {
	var r rates
	for b := range r {
		r[b] = unknown
		for _, source := range chains[b] {
			if price, ok := s[source]; ok {
				r[b] = price
				break
			}
			if _, ok := told[source]; ok {
				break
			}
		}
	}
	return r
}

// chains says where a bucket's price is taken from: the first stated one. For
// cached audio and images the uncached price of the same kind goes before the
// text's cached one, as no discount is known for them.
var chains = [bucketCount][]bucket{
	input:        {input},
	cacheRead:    {cacheRead, input},
	cacheWrite5m: {cacheWrite5m, input},
	cacheWrite1h: {cacheWrite1h, cacheWrite5m, input},
	output:       {output},
	reasoning:    {reasoning, output},
	inputAudio:   {inputAudio, input},
	cachedAudio:  {cachedAudio, inputAudio, cacheRead, input},
	outputAudio:  {outputAudio, output},
	inputImage:   {inputImage, input},
	cachedImage:  {cachedImage, inputImage, cacheRead, input},
	outputImage:  {outputImage, output},
	inputVideo:   {inputVideo, input},
	outputVideo:  {outputVideo, output},
}

// bucketNames are the names of the prices in files.
var bucketNames = [bucketCount]string{
	input: "input", cacheRead: "cached_input", cacheWrite5m: "cache_write_5m", cacheWrite1h: "cache_write_1h",
	output: "output", reasoning: "reasoning",
	inputAudio: "input_audio", cachedAudio: "cached_audio", outputAudio: "output_audio",
	inputImage: "input_image", cachedImage: "cached_image", outputImage: "output_image",
	inputVideo: "input_video", outputVideo: "output_video",
}

var bucketByName = func() map[string]bucket {
	byName := make(map[string]bucket, bucketCount)
	for b, name := range bucketNames {
		byName[name] = bucket(b)
	}
	return byName
}()
