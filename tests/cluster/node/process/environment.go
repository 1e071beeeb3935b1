package process

import (
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"

	"tidegate.dev/tests/cluster/node"
)

// Configs reads what containers are configured with. Found is false for an object that does not exist.
type Configs interface {
	ConfigMap(name string) (configMap *corev1.ConfigMap, found bool, err error)
	Secret(name string) (secret *corev1.Secret, found bool, err error)
}

// variable is one entry of an environment. The order is kept: a later variable may refer to an earlier one.
type variable struct{ name, value string }

// environment works out a container's own environment variables. It leaves out resourceFieldRef and the variables
// that a kubelet makes from Services.
func environment(pod *corev1.Pod, container *corev1.Container, address string, configs Configs) ([]variable, error) {
	var result []variable
	set := func(name, value string) {
		if i := slices.IndexFunc(result, func(v variable) bool { return v.name == name }); i >= 0 {
			result[i].value = value
			return
		}
		result = append(result, variable{name, value})
	}
	// As a base, what a program finds in a container and in a shell on this machine.
	set("PATH", os.Getenv("PATH"))
	set("HOME", os.Getenv("HOME"))
	set("HOSTNAME", pod.Name)
	set("POD_IP", address)

	for _, source := range container.EnvFrom {
		values, err := wholeSource(&source, configs)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			set(source.Prefix+v.name, v.value)
		}
	}
	for _, entry := range container.Env {
		value, present, err := valueOf(&entry, result, pod, address, configs)
		if err != nil {
			return nil, err
		}
		if present {
			set(entry.Name, value)
		}
	}
	return result, nil
}

// expand replaces $(VAR) by the variables' values.
func expand(text string, variables []variable) string {
	values := make(map[string]string, len(variables))
	for _, v := range variables {
		values[v.name] = v.value
	}
	return expansion.Expand(text, expansion.MappingFuncFor(values))
}

// valueOf is the value of one entry; present is false for an optional reference to nothing.
func valueOf(entry *corev1.EnvVar, before []variable, pod *corev1.Pod, address string, configs Configs) (value string, present bool, err error) {
	from := entry.ValueFrom
	switch {
	case from == nil:
		return expand(entry.Value, before), true, nil
	case from.FieldRef != nil:
		value, err := fieldValue(pod, from.FieldRef.FieldPath, address)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		object, found, err := configs.ConfigMap(ref.Name)
		if err != nil {
			return "", false, err
		}
		if found {
			if value, ok := object.Data[ref.Key]; ok {
				return value, true, nil
			}
			if value, ok := object.BinaryData[ref.Key]; ok {
				return string(value), true, nil
			}
		}
		return "", false, absent("configmap", ref.Name, ref.Key, found, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		object, found, err := configs.Secret(ref.Name)
		if err != nil {
			return "", false, err
		}
		if found {
			if value, ok := object.Data[ref.Key]; ok {
				return string(value), true, nil
			}
		}
		return "", false, absent("secret", ref.Name, ref.Key, found, ref.Optional)
	}
	return "", false, nil
}

// fieldValue is the downward API.
func fieldValue(pod *corev1.Pod, path, address string) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return address, nil
	case "status.hostIP", "status.hostIPs":
		return node.HostAddress, nil
	}
	return fieldpath.ExtractFieldPathAsString(pod, path)
}

// wholeSource is all variables of an envFrom entry, by name.
func wholeSource(source *corev1.EnvFromSource, configs Configs) ([]variable, error) {
	values := map[string]string{}
	switch {
	case source.ConfigMapRef != nil:
		ref := source.ConfigMapRef
		object, found, err := configs.ConfigMap(ref.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, absent("configmap", ref.Name, "", false, ref.Optional)
		}
		for key, value := range object.Data {
			values[key] = value
		}
	case source.SecretRef != nil:
		ref := source.SecretRef
		object, found, err := configs.Secret(ref.Name)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, absent("secret", ref.Name, "", false, ref.Optional)
		}
		for key, value := range object.Data {
			values[key] = string(value)
		}
	}
	variables := make([]variable, 0, len(values))
	for name, value := range values {
		if len(validation.IsEnvVarName(source.Prefix+name)) == 0 { // Like a kubelet, leave out what cannot be a name.
			variables = append(variables, variable{name, value})
		}
	}
	slices.SortFunc(variables, func(a, b variable) int { return strings.Compare(a.name, b.name) })
	return variables, nil
}

// absent is the error for a reference to what is not there, in a kubelet's words; nil when it is optional.
func absent(kind, name, key string, found bool, optional *bool) error {
	switch {
	case optional != nil && *optional:
		return nil
	case !found:
		return fmt.Errorf("%s %q not found", kind, name)
	default:
		return fmt.Errorf("couldn't find key %s in %s %q", key, kind, name)
	}
}
