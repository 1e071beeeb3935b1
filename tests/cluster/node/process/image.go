package process

import (
	"fmt"
	"strings"
)

// Images says which command stands for the entrypoint of an image. Nothing is ever pulled.
type Images map[string][]string

// localPrefix begins the name of an image that needs no entrypoint: its containers say their command themselves.
const localPrefix = "local/"

// Add reads NAME=COMMAND. The command is split at spaces; one that needs more is a script.
func (i Images) Add(text string) error {
	name, command, found := strings.Cut(text, "=")
	words := strings.Fields(command)
	if !found || name == "" || len(words) == 0 {
		return fmt.Errorf("image %q: write NAME=COMMAND", text)
	}
	i[name] = words
	return nil
}

// entrypoint finds the command of an image: by its full name first, then by its repository. Known is false for an
// image that a kubelet could not pull.
func (i Images) entrypoint(image string) (command []string, known bool) {
	if command, ok := i[image]; ok {
		return command, true
	}
	if command, ok := i[repository(image)]; ok {
		return command, true
	}
	return nil, strings.HasPrefix(image, localPrefix)
}

// repository is an image's name without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}
