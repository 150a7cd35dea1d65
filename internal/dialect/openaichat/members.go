package openaichat

import (
	"bytes"

	"github.com/financecommander/tollgate/internal/dialect"
	"github.com/financecommander/tollgate/internal/dialect/wire"
	"github.com/financecommander/tollgate/internal/llm"
)

// members are the members of objects of a stream that the vocabulary has no word
// for: the last value of each.
type members struct {
	list    []member
	changed bool // since it was last made false
}

type member struct {
	name  string
	value []byte
}

func memberOf(object []byte, name string) []byte {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	return wire.Member(object, name)
}

func (m *members) find(name []byte) *member {
	for i := range m.list {
		if m.list[i].name == string(name) {
			return &m.list[i]
		}
	}
	m.list = append(m.list, member{name: string(name)})
	return &m.list[len(m.list)-1]
}

// set notes a member's latest value. null says nothing.
func (m *members) set(name, value []byte) {
	if len(value) == 0 || string(value) == "null" {
		return
	}
	found := m.find(name)
	if !bytes.Equal(found.value, value) {
		found.value = append(found.value[:0], value...)
		m.changed = true
	}
}

// add is set for the members of a delta, whose lists go on from chunk to chunk.
func (m *members) add(name, value []byte) (list bool) {
	if len(value) == 0 || value[0] != '[' {
		m.set(name, value)
		return false
	}
	found := m.find(name)
	if len(found.value) == 0 || found.value[0] != '[' {
		found.value = append(found.value[:0], value...)
		return true
	}
	w := wire.Writer{Bytes: bytes.TrimRight(found.value[:len(found.value)-1], " \t\r\n")}
	if inner := bytes.TrimSpace(value[1 : len(value)-1]); len(inner) > 0 {
		w.Raw(inner)
	}
	w.EndArray()
	found.value = w.Bytes
	return true
}

// rest gives all as one object.
func (m *members) rest() *wire.Rest {
	var rest wire.Rest
	for _, found := range m.list {
		if len(found.value) > 0 {
			rest.Add([]byte(found.name), found.value)
		}
	}
	return &rest
}

func (m *members) extra() llm.Extra { return m.rest().Extra(dialect.OpenAIChat) }
