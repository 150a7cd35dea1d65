package usage

import (
	"bytes"
	"encoding/hex"
	"hash/crc32"
	"iter"
)

// A spool file is a sequence of frames, one record each:
//
//	\n 8 hex digits of CRC-32C of the JSON, a space, the JSON on one line
//
// The line feed stands before the record, not after it: a record that follows a
// fragment, left by a write that was cut short, is still a line of its own.
const frameOverhead = 1 + 8 + 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends a record as a frame.
func appendFrame(b []byte, r *Record) []byte {
	start := len(b)
	b = append(b, "\n........ "...)
	b = r.AppendJSON(b)
	sum := crc32.Checksum(b[start+frameOverhead:], castagnoli)
	hex.Encode(b[start+1:], []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	return b
}

// frames takes a spool file apart. It yields the JSON of each whole record with
// intact true, and each line that is not one as it is, with intact false. The
// slices are parts of data.
func frames(data []byte) iter.Seq2[[]byte, bool] {
	return func(yield func(line []byte, intact bool) bool) {
		for len(data) > 0 {
			var line []byte
			line, data, _ = bytes.Cut(data, []byte{'\n'})
			if len(line) == 0 {
				continue
			}
			record, intact := unframe(line)
			if !intact {
				record = line
			}
			if !yield(record, intact) {
				return
			}
		}
	}
}

func unframe(line []byte) (record []byte, intact bool) {
	const sumLen = 8
	if len(line) <= sumLen+1 || line[sumLen] != ' ' {
		return nil, false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], line[:sumLen]); err != nil {
		return nil, false
	}
	record = line[sumLen+1:]
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	return record, crc32.Checksum(record, castagnoli) == want
}
