package buildspec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// Schema is a JSON Schema of the format, draft 7, which is what editors' YAML language servers know best; it ships as
// docs/buildspec.schema.json. It accepts every file that ParseBatch accepts, and so does not complain of unknown keys, unless
// the editor is told to: ParseBatch only warns of them. It refuses what can be told from the structure alone.
func Schema() []byte {
	root := schemaOf("", key{kind: aBlock})
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "AWS CodeBuild buildspec"
	root["description"] = "The commands and settings of a build, as AWS CodeBuild and buildsmith run them."
	root["type"] = "object"
	root["anyOf"] = []any{object{"required": []string{"phases"}}, object{"required": []string{"batch"}}}
	root["definitions"] = object{"flag": object{"anyOf": []any{
		object{"enum": []any{"yes", "no", true, false}},
		object{"type": []string{"string", "boolean", "null"}, "pattern": `^\s*(` + anyCase("yes", "no", "true", "false", "on", "off") + `)?\s*$`},
	}}}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(root); err != nil {
		panic(fmt.Sprintf("buildspec: encoding the schema: %v", err)) // a mistake in this file
	}
	return out.Bytes()
}

type object = map[string]any

// schemaOf is the schema of the value at a path of the table.
func schemaOf(path string, k key) object {
	s := object{}
	switch k.kind {
	case aText:
		s = textSchema(k)
	case aFlag:
		s["allOf"] = []any{object{"$ref": "#/definitions/flag"}} // alone, a $ref would hide what stands beside it
		s["default"] = k.fallback
	case aNumber:
		s["anyOf"] = []any{object{"type": "integer", "minimum": k.min, "maximum": k.max}, object{"type": "string", "pattern": `^\s*0*[1-9][0-9]*\s*$`}}
	case aTexts:
		s = listSchema(k)
	case aCommands:
		s["anyOf"] = []any{object{"type": "array", "items": scalars(true)}, scalars(true)}
	case aNames:
		s["type"] = []string{"object", "null"}
		s["propertyNames"] = object{"pattern": strings.Replace(namePattern, "^", "^<<$|^", 1)}
		s["additionalProperties"] = textSchema(key{pattern: k.pattern, required: k.pattern != ""})
	case aChoices:
		s["type"] = []string{"object", "null"}
		s["propertyNames"] = object{"pattern": strings.Replace(namePattern, "^", "^<<$|^", 1)}
		s["additionalProperties"] = object{"anyOf": []any{scalars(false), object{"type": "array", "items": scalars(true), "contains": scalars(false)}}}
	case aVersions:
		s["type"] = "object"
		s["minProperties"] = 1
		s["additionalProperties"] = textSchema(key{pattern: k.pattern, required: true})
	case aBlock:
		s = blockSchema(path)
	case aBlocks:
		s["type"] = []string{"object", "null"}
		s["maxProperties"] = k.max
		s["additionalProperties"] = blockSchema(path + ".*")
	case aTasks:
		task := blockSchema(path + "[]")
		s["anyOf"] = []any{object{"type": "array", "minItems": k.min, "maxItems": k.max, "items": task}, object{"type": "object", "required": []string{"identifier"}}}
	case refused:
		s["not"] = object{}
		s["doNotSuggest"] = true
	case ignored:
		s["doNotSuggest"] = true
	}
	if k.about != "" {
		s["description"] = k.about
		if k.fallback != "" && k.kind != aFlag {
			s["description"] = k.about + " Without it: " + k.fallback + "."
		}
	}
	if k.kind == refused || k.kind == ignored {
		s["deprecationMessage"] = k.about
	}
	if k.since == "0.1" {
		s["deprecationMessage"] = "Of version 0.1."
	}
	return s
}

// blockSchema is the schema of a map with the keys below a path.
func blockSchema(path string) object {
	s := object{"type": []string{"object", "null"}}
	properties := object{}
	var required []string
	rows := tables[path].rows
	for name, k := range rows {
		at := k.path
		if strings.HasPrefix(at, "phases.*.") { // the rows of install are those of all phases, and its own
			at = path + "." + name
		}
		properties[name] = schemaOf(at, k)
	}
	for _, name := range tables[path].names {
		if rows[name].required {
			required = append(required, name)
		}
	}
	if path == "phases" {
		for _, n := range phaseNames {
			row := "phases." + n.key
			if len(tables[row].rows) == 0 {
				row = "phases.*"
			}
			phase := blockSchema(row)
			phase["description"] = properties[n.key].(object)["description"]
			properties[n.key] = phase
		}
		s["type"], s["minProperties"] = "object", 1
	}
	s["properties"] = properties
	if len(required) > 0 {
		s["required"] = required
		if path != "artifacts" { // which may be empty
			s["type"] = "object"
		}
	}
	switch path {
	case "batch":
		var one []any
		for _, t := range batchTypes {
			one = append(one, object{"required": []string{t}})
		}
		s["type"], s["oneOf"] = "object", one
	case "batch.build-list[].env", "batch.build-graph[].env":
		s["not"] = object{"required": []string{"compute-type", "fleet"}}
	}
	return s
}

// scalars is the schema of what is read as text: the text of any scalar.
func scalars(null bool) object {
	if null {
		return object{"type": []string{"string", "number", "boolean", "null"}}
	}
	return object{"type": []string{"string", "number", "boolean"}}
}

func textSchema(k key) object {
	s := scalars(!k.required)
	switch {
	case len(k.values) > 0 && k.fold:
		return object{"anyOf": []any{
			object{"enum": k.values},
			object{"type": []string{"string", "null"}, "pattern": `^\s*(` + anyCase(k.values...) + `)?\s*$`},
		}}
	case k.path == "version": // which YAML takes for a number
		return object{"enum": []any{"0.2", "0.1", 0.2, 0.1}}
	case len(k.values) > 0:
		var values []any
		for _, v := range k.values {
			values = append(values, v)
		}
		return object{"enum": append(values, "", nil)}
	case k.pattern != "" && k.required:
		s["pattern"] = k.pattern
	case k.pattern != "":
		s["pattern"] = `^\s*$|` + k.pattern
	}
	return s
}

// listSchema is the schema of a list of texts, for which one text may stand.
func listSchema(k key) object {
	item := scalars(true)
	if k.pattern != "" {
		item["pattern"] = `^$|` + k.pattern
	}
	list := object{"type": "array", "items": item}
	if k.max > 0 {
		list["maxItems"] = k.max
	}
	if !k.required && k.min == 0 {
		return object{"anyOf": []any{list, item}}
	}
	list["contains"] = scalars(false)
	return object{"anyOf": []any{list, scalars(false)}}
}

// anyCase is a regular expression of words in any case.
func anyCase(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, r := range w {
			if upper, lower := strings.ToUpper(string(r)), strings.ToLower(string(r)); upper != lower {
				b.WriteString("[" + upper + lower + "]")
			} else {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}
