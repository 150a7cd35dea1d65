package pricing

import (
	"math"
	"math/bits"
	"slices"
	"strings"
	"time"
)

// Model is what the table knows of one model of one provider. It does not
// change once made.
type Model struct {
	Provider string
	Name     string
	Kind     string // "chat", "embedding", "image", "realtime", …; "" if not said

	ContextWindow    int64    // tokens; 0: not known
	MaxOutput        int64    // tokens; 0: not known
	InputModalities  []string // "text", "image", "pdf", …; none: not known
	OutputModalities []string
	Deprecated       bool // a source says so

	// PerCall is the price of one call of a server-side tool ("web_search"),
	// which comes on top of the tokens.
	PerCall map[string]Money

	periods []period // ascending; the first holds since ever
	region  regional
	flat    bool // one price in every mode
}

// At says under which conditions a call was made.
type At struct {
	// Time is when the call was made. The zero time means the oldest prices known.
	Time time.Time
	// ServiceTier is how the provider processed the call, in its own words or
	// the table's: "batch", "flex", "priority", "fast"; "", "default",
	// "standard", "auto" and "on_demand" all mean standard processing.
	ServiceTier string
	// Region is where the provider kept the data, if the caller paid for that.
	Region string
}

// Quote is what a call cost, or that it is not known.
type Quote struct {
	Cost   Money  // 0 unless Priced
	Priced bool   // every token counted has a known price
	Tier   string // the price list used: "standard", "batch", "standard>200000"
	// Unknown names what kept the call from being priced: the price's name
	// ("cached_input"), "model", "service_tier" or "overflow"; "" if Priced.
	Unknown string
}

// NewModel makes a model that costs the same in every mode, from prices in USD
// per million tokens written as decimals ("2.50"): an operator's own word on
// what a model costs, used in place of the table.
func NewModel(inputPer1M, outputPer1M string) (*Model, error) {
	in, err := parsePerMillion(inputPer1M)
	if err != nil {
		return nil, err
	}
	out, err := parsePerMillion(outputPer1M)
	if err != nil {
		return nil, err
	}
	given := priceSet{input: in, output: out}
	list := priceList{{label: standard, rates: given.resolve(nil)}}
	return &Model{periods: []period{{standard: list}}, flat: true}, nil
}

// Cost is what these tokens cost. On a nil Model, one that was not found, the
// quote is unpriced.
func (m *Model) Cost(tokens Tokens, at At) Quote {
	if m == nil {
		return Quote{Unknown: "model"}
	}
	list := m.list(at)
	if list == nil {
		return Quote{Unknown: "service_tier"}
	}
	counts := tokens.buckets()
	band := list.band(inputTotal(&counts))
	cost, missing := band.rates.cost(&counts)
	if missing == "" && m.region.covers(at.Region) {
		cost, missing = m.region.apply(cost)
	}
	if missing != "" {
		return Quote{Tier: band.label, Unknown: missing}
	}
	return Quote{Cost: cost, Priced: true, Tier: band.label}
}

// PerMillion is the price of a million tokens of text read and generated, for
// short inputs: what a list of models shows. A price that is not known is 0 and
// ok is false; a model that generates nothing has an output price of 0.
func (m *Model) PerMillion(at At) (in, out Money, ok bool) {
	list := m.list(at)
	if list == nil {
		return 0, 0, false
	}
	rates := &list[0].rates
	if rates[input] == unknown {
		return 0, 0, false
	}
	return rates[input].Times(1e6), max(rates[output], 0).Times(1e6), true
}

// list finds the price list in force; nil if there is none for the tier.
func (m *Model) list(at At) priceList {
	current := &m.periods[0]
	for i := range m.periods[1:] {
		if !at.Time.Before(m.periods[i+1].from) {
			current = &m.periods[i+1]
		}
	}
	switch mode := strings.ToLower(at.ServiceTier); {
	case m.flat || slices.Contains(standardNames, mode):
		return current.standardAt(at.Time)
	default:
		return current.modes[mode]
	}
}

const standard = "standard"

// standardNames are the words providers use for ordinary processing: OpenAI
// says "default" (and "auto" in requests), Anthropic and Gemini "standard",
// Groq "on_demand".
var standardNames = []string{"", "default", standard, "auto", "on_demand"}

// period is a time with the same prices.
type period struct {
	from     time.Time
	standard priceList
	hours    []hours
	modes    map[string]priceList
}

// standardAt is the standard list at a time of the day.
func (p *period) standardAt(t time.Time) priceList {
	if len(p.hours) == 0 {
		return p.standard
	}
	t = t.UTC()
	minute := t.Hour()*60 + t.Minute()
	for i := range p.hours {
		if p.hours[i].covers(minute) {
			return p.hours[i].list
		}
	}
	return p.standard
}

// hours is a part of the day, in minutes since midnight UTC, with prices of its
// own. It may span midnight; end is not included.
type hours struct {
	start, end int
	list       priceList
}

func (h *hours) covers(minute int) bool {
	if h.start <= h.end {
		return h.start <= minute && minute < h.end
	}
	return minute >= h.start || minute < h.end
}

// priceList holds the bands of one mode, ascending; the first begins at 0.
type priceList []band

// band is the prices for requests with more than above input tokens.
type band struct {
	above int64
	label string
	rates rates
}

// band is the one for a request of this many input tokens.
func (l priceList) band(inputTokens int64) *band {
	found := &l[0]
	for i := range l[1:] {
		if inputTokens > l[i+1].above {
			found = &l[i+1]
		}
	}
	return found
}

// rates are prices in picodollars per token, or unknown.
type rates [bucketCount]Money

const unknown Money = -1

// cost multiplies and adds up. missing says what has no price, or "overflow".
func (r *rates) cost(counts *[bucketCount]int64) (cost Money, missing string) {
	var sum uint64
	for b, count := range counts {
		if count == 0 {
			continue
		}
		if r[b] == unknown {
			return 0, bucketNames[b]
		}
		high, low := bits.Mul64(uint64(count), uint64(r[b]))
		total, carry := bits.Add64(sum, low, 0)
		if high != 0 || carry != 0 {
			return 0, overflow
		}
		sum = total
	}
	if sum > math.MaxInt64 {
		return 0, overflow
	}
	return Money(sum), ""
}

const overflow = "overflow"

// regional is a factor on the cost of calls whose data stays in a region.
type regional struct {
	regions    []string
	millionths uint64 // the factor, in millionths
}

func (r *regional) covers(region string) bool {
	return region != "" && slices.Contains(r.regions, region)
}

// apply multiplies, rounding half a picodollar up.
func (r *regional) apply(cost Money) (result Money, missing string) {
	const million = 1_000_000
	high, low := bits.Mul64(uint64(cost), r.millionths)
	low, carry := bits.Add64(low, million/2, 0)
	if high += carry; high >= million {
		return 0, overflow
	}
	quotient, _ := bits.Div64(high, low, million)
	if quotient > math.MaxInt64 {
		return 0, overflow
	}
	return Money(quotient), ""
}
