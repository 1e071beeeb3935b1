package process

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Pods share the machine's file system: a volume is a directory of its own, and where a container names the path at
// which it mounts the volume (in its command, arguments, environment and working directory) the real path is put
// instead. A program that has a mount path compiled in does not find it; it can read VOLUME_<NAME>.

// fillVolume makes a volume's directory with its content. A ConfigMap or Secret is written once: a later change of it
// reaches only new pods.
func fillVolume(dir string, volume *corev1.Volume, pod *corev1.Pod, address string, configs Configs) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	switch source := volume.VolumeSource; {
	case source.EmptyDir != nil:
		return nil
	case source.ConfigMap != nil:
		return fillConfigMap(dir, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional, configs)
	case source.Secret != nil:
		return fillSecret(dir, source.Secret.SecretName, source.Secret.Items, source.Secret.Optional, configs)
	case source.DownwardAPI != nil:
		return fillFields(dir, source.DownwardAPI.Items, pod, address)
	case source.Projected != nil:
		for _, part := range source.Projected.Sources {
			var err error
			switch {
			case part.ConfigMap != nil:
				err = fillConfigMap(dir, part.ConfigMap.Name, part.ConfigMap.Items, part.ConfigMap.Optional, configs)
			case part.Secret != nil:
				err = fillSecret(dir, part.Secret.Name, part.Secret.Items, part.Secret.Optional, configs)
			case part.DownwardAPI != nil:
				err = fillFields(dir, part.DownwardAPI.Items, pod, address)
			default:
				err = fmt.Errorf("volume %q: a process node projects only configMap, secret and downwardAPI", volume.Name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("volume %q: a process node has only configMap, secret, emptyDir, downwardAPI and projected volumes", volume.Name)
}

func fillConfigMap(dir, name string, items []corev1.KeyToPath, optional *bool, configs Configs) error {
	object, found, err := configs.ConfigMap(name)
	if err != nil {
		return err
	}
	if !found {
		return absent("configmap", name, "", false, optional)
	}
	files := map[string][]byte{}
	for key, value := range object.Data {
		files[key] = []byte(value)
	}
	for key, value := range object.BinaryData {
		files[key] = value
	}
	return writeFiles(dir, "configmap", name, files, items, optional)
}

func fillSecret(dir, name string, items []corev1.KeyToPath, optional *bool, configs Configs) error {
	object, found, err := configs.Secret(name)
	if err != nil {
		return err
	}
	if !found {
		return absent("secret", name, "", false, optional)
	}
	return writeFiles(dir, "secret", name, object.Data, items, optional)
}

func fillFields(dir string, items []corev1.DownwardAPIVolumeFile, pod *corev1.Pod, address string) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return fmt.Errorf("file %q: a process node knows only fieldRef", item.Path)
		}
		value, err := fieldValue(pod, item.FieldRef.FieldPath, address)
		if err != nil {
			return err
		}
		if err := writeFile(dir, item.Path, []byte(value)); err != nil {
			return err
		}
	}
	return nil
}

func writeFiles(dir, kind, name string, files map[string][]byte, items []corev1.KeyToPath, optional *bool) error {
	if len(items) == 0 {
		for key := range files {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		content, ok := files[item.Key]
		if !ok {
			if err := absent(kind, name, item.Key, true, optional); err != nil {
				return err
			}
			continue
		}
		if err := writeFile(dir, item.Path, content); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(dir, path string, content []byte) error {
	full := filepath.Join(dir, filepath.Clean("/"+path))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return os.WriteFile(full, content, 0o644)
}

// mount is a path that a container uses and the directory or file that stands for it.
type mount struct{ path, real string }

// mounts lists a container's mounts, longest path first, so that a mount inside another one is found.
func mounts(container *corev1.Container, directory func(volume string) string, variables []variable) []mount {
	list := make([]mount, 0, len(container.VolumeMounts))
	for _, m := range container.VolumeMounts {
		inside := m.SubPath
		if m.SubPathExpr != "" {
			inside = expand(m.SubPathExpr, variables)
		}
		list = append(list, mount{
			path: strings.TrimRight(m.MountPath, "/"),
			real: filepath.Join(directory(m.Name), filepath.Clean("/"+inside)),
		})
	}
	slices.SortFunc(list, func(a, b mount) int { return len(b.path) - len(a.path) })
	return list
}

// relocate puts real paths for mount paths, where those stand as whole path elements.
func relocate(text string, list []mount) string {
	var result strings.Builder
	for i := 0; i < len(text); {
		found := slices.IndexFunc(list, func(m mount) bool {
			rest, ok := strings.CutPrefix(text[i:], m.path)
			return ok && m.path != "" && (i == 0 || !inPath(text[i-1])) && (rest == "" || rest[0] == '/' || !inPath(rest[0]))
		})
		if found < 0 {
			result.WriteByte(text[i])
			i++
			continue
		}
		result.WriteString(list[found].real)
		i += len(list[found].path)
	}
	return result.String()
}

// inPath says whether a byte next to a mount path makes it part of another path.
func inPath(b byte) bool {
	return b == '/' || b == '.' || b == '-' || b == '_' || b >= 0x80 ||
		'0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// volumeVariable is the name of the variable that holds a volume's directory.
func volumeVariable(volume string) string {
	return "VOLUME_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(volume))
}
