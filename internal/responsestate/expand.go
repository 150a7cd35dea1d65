package responsestate

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/financecommander/tollgate/internal/jsonedit"
	"github.com/financecommander/tollgate/internal/llm"
)

// Expand puts an earlier answer and its history before a request's own input, in
// the place of the reference to it. Every other byte of the body stays as it is.
func Expand(body []byte, prev *Entry) ([]byte, error) {
	object, err := readObject(body)
	if err != nil {
		return nil, err
	}
	own, err := inputItems(&object)
	if err != nil {
		return nil, err
	}
	all, err := join(prev.Input, prev.Output, own)
	if err != nil {
		return nil, fmt.Errorf("the stored response: %w", err)
	}
	edit := object.Edit()
	edit.Remove("previous_response_id")
	edit.Set("input", string(all))
	return edit.Bytes(), nil
}

// InputItems gives a request's input as a JSON array of items. Text becomes a
// message of the user's.
func InputItems(body []byte) ([]byte, error) {
	object, err := readObject(body)
	if err != nil {
		return nil, err
	}
	return inputItems(&object)
}

func readObject(body []byte) (jsonedit.Object, error) {
	object, err := jsonedit.ReadObject(body)
	if err != nil {
		return object, &llm.Error{Cause: llm.CauseInvalidRequest, Message: "the body is not a JSON object: " + err.Error(), Err: err}
	}
	return object, nil
}

func inputItems(object *jsonedit.Object) ([]byte, error) {
	switch input := object.Value("input"); {
	case input == nil:
		return []byte("[]"), nil
	case input[0] == '[':
		return input, nil
	case input[0] == '"':
		items := []byte(`[{"type":"message","role":"user","content":[{"type":"input_text","text":`)
		return append(append(items, input...), `}]}]`...), nil
	}
	return nil, &llm.Error{Cause: llm.CauseInvalidRequest, Param: "input", Message: "input must be a string or an array of items"}
}

// join makes one JSON array of several. Nothing counts as an empty one.
func join(arrays ...[]byte) ([]byte, error) {
	size := 2
	for _, a := range arrays {
		size += len(a) + 1
	}
	all := append(make([]byte, 0, size), '[')
	for _, a := range arrays {
		items, err := elements(a)
		if err != nil {
			return nil, err
		}
		if len(items) > 0 && len(all) > 1 {
			all = append(all, ',')
		}
		all = append(all, items...)
	}
	return append(all, ']'), nil
}

// elements is what stands between an array's brackets.
func elements(array []byte) ([]byte, error) {
	array = bytes.Trim(array, " \t\r\n")
	if len(array) == 0 {
		return nil, nil
	}
	s := jsonedit.NewScanner(array)
	if s.Kind() != jsonedit.KindArray {
		return nil, errors.New("its items are no array")
	}
	s.Skip()
	if err := s.End(); err != nil {
		return nil, err
	}
	return bytes.Trim(array[1:len(array)-1], " \t\r\n"), nil
}
