package portal

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/financecommander/tollgate/internal/identity"
	"github.com/financecommander/tollgate/internal/llm"
	"github.com/financecommander/tollgate/internal/specialist"
)

const (
	// maxTriageMessage is what a chat's message may have, in characters.
	maxTriageMessage = 50_000
	// maxRecommendations are given, the best first.
	maxRecommendations = 3
	// byKeywords is the model_used of answers that no model gave.
	byKeywords = "keywords"
)

// recommendation is a specialist that fits a message.
type recommendation struct {
	SpecialistID string  `json:"specialist_id"`
	Confidence   float64 `json:"confidence"` // 0 to 1
	Reason       string  `json:"reason"`
}

type triageAnswer struct {
	Recommendations []recommendation `json:"recommendations"`
	ModelUsed       string           `json:"model_used"`
}

// triage recommends specialists for a message: by a model's judgement where one
// is configured and answers well, else by the words that they share.
func (h *Handler) triage(w http.ResponseWriter, r *http.Request, p *identity.Principal) error {
	if h.o.Specialists == nil {
		return &llm.Error{Cause: llm.CauseNotFound, Message: "specialists are turned off on this gateway"}
	}
	var request struct {
		Message string `json:"message"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	switch {
	case strings.TrimSpace(request.Message) == "":
		return unprocessable("message", "is required")
	case utf8.RuneCountInString(request.Message) > maxTriageMessage:
		return unprocessable("message", "has more than 50000 characters")
	}
	var usable []*specialist.Specialist
	for _, s := range h.o.Specialists.List() {
		if p.MayUse(s.ID) {
			usable = append(usable, s)
		}
	}
	answer := triageAnswer{ModelUsed: h.o.Chat.TriageModel}
	if answer.Recommendations = h.askTriageModel(w, r, p, request.Message, usable); answer.Recommendations == nil {
		answer = triageAnswer{matchKeywords(request.Message, usable), byKeywords}
	}
	return writeJSON(w, answer)
}

// What a word counts, by where a specialist has it.
const (
	weightName        = 3.0
	weightDescription = 2.0
	weightPrompt      = 1.0
	// enough is the score of which a confidence of one half is made.
	enough = 4.0
	// unmatched is the confidence in a specialist that nothing points to.
	unmatched = 0.1
)

// matchKeywords recommends by shared words. A word that few specialists have
// counts more than one that many have; the order is that of the list where the
// scores are the same. The words of system prompts count, but are not told.
func matchKeywords(message string, usable []*specialist.Specialist) []recommendation {
	asked := keywords(message)
	having := make(map[string]int) // specialists that have a word
	fields := make([]map[string]float64, len(usable))
	for i, s := range usable {
		fields[i] = weights(s)
		for stem := range fields[i] {
			having[stem]++
		}
	}
	list := []recommendation{}
	for i, s := range usable {
		var score float64
		var shown []string // words that anybody may see in the specialist
		for _, word := range asked {
			weight := fields[i][word.stem]
			if weight == 0 {
				continue
			}
			score += weight * (1 + math.Log(float64(len(usable))/float64(having[word.stem])))
			if weight >= weightDescription && len(shown) < 3 {
				shown = append(shown, word.text)
			}
		}
		if score > 0 {
			list = append(list, recommendation{s.ID, math.Round(100*score/(score+enough)) / 100, reasonFor(shown)})
		}
	}
	slices.SortStableFunc(list, func(a, b recommendation) int { return cmp.Compare(b.Confidence, a.Confidence) })
	if len(list) == 0 && len(usable) > 0 {
		list = append(list, recommendation{usable[0].ID, unmatched, "Nothing in the message points to one specialist; this is the first of the list."})
	}
	return list[:min(len(list), maxRecommendations)]
}

func reasonFor(shown []string) string {
	if len(shown) == 0 {
		return "The message fits what this specialist is for."
	}
	return "The message is about: " + strings.Join(shown, ", ") + "."
}

// weights are the words of a specialist and what each counts.
func weights(s *specialist.Specialist) map[string]float64 {
	counts := make(map[string]float64)
	for _, field := range []struct {
		text   string
		weight float64
	}{{s.ID + " " + s.Name, weightName}, {s.Description, weightDescription}, {s.SystemPrompt, weightPrompt}} {
		for _, word := range keywords(field.text) {
			counts[word.stem] = max(counts[word.stem], field.weight)
		}
	}
	return counts
}

// keyword is a word and what it has in common with its other forms.
type keyword struct{ text, stem string }

// maxKeywords bounds what one text is matched by.
const maxKeywords = 2000

// keywords are the words of a text that say what it is about, each once.
func keywords(text string) []keyword {
	var found []keyword
	seen := make(map[string]bool)
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		stem := stemOf(word)
		if stem == "" || seen[stem] {
			continue
		}
		if seen[stem] = true; len(found) < maxKeywords {
			found = append(found, keyword{shortened(word), stem})
		}
	}
	return found
}

func shortened(word string) string {
	if runes := []rune(word); len(runes) > 30 {
		return string(runes[:30]) + "…"
	}
	return word
}

// stemOf is the part of a word that its forms share, roughly: its beginning. ""
// is for words that say nothing.
func stemOf(word string) string {
	const long = 6
	runes := []rune(word)
	if len(runes) < 3 || stopwords[word] {
		return ""
	}
	if len(runes) > long {
		return string(runes[:long])
	}
	if last := len(runes) - 1; last > 2 && runes[last] == 's' && runes[last-1] != 's' {
		runes = runes[:last]
	}
	return string(runes)
}

// stopwords are the words that stand in every text, and in every system prompt.
var stopwords = func() map[string]bool {
	words := make(map[string]bool)
	for word := range strings.FieldsSeq(`about above after again all also always and another any are ask asked assistant because been before being below
		between both but can cannot clear clearly could did does doing done each either else ever every few for from get give given gives
		had has have help here him his how into its just keep know let like make many may might more most much must need never not now
		off once one only other our out over own per please said same say see shall she should some such sure take tell than that the
		their them then there these they this those through too under until upon use used user using very want was way well were what
		when where which while who whom why will with would yes yet you your answer question questions specialist`) {
		words[word] = true
	}
	return words
}()
